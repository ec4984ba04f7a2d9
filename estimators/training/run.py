"""A whole training whose step is predicted, not assumed: days, energy and CO2 with their interval, and what runs add to that."""

from __future__ import annotations

from estimators.cost.divisibility import check_cuts
from estimators.cost.layout import Layout, layout_fields
from estimators.cost.machine import OwnRates
from estimators.cost.software import DEFAULT_STACK
from estimators.errors import BadValueError
from estimators.facts.goodput import Allowance, allowance
from estimators.frozen import frozen
from estimators.spec import Hardware, Model
from estimators.training.at_utilization import check_devices
from estimators.training.layouts.default_layout import default_layout
from estimators.training.layouts.job import Job
from estimators.training.layouts.usual_batch import ROUNDING, UsualBatch, usual_batch, whole_batch
from estimators.training.prediction import Prediction
from estimators.training.supported import not_covered
from estimators.units import DAY_S, HOUR_S


@frozen
class Setup:
    """How the step is run, where it is not left to be chosen; every field may stay as it is.

    Attributes:
        layout: such as ``tp=2,pp=1,zero=3,micro_batch=2``; empty takes one.
        batch_tokens: of one step, all devices together; None takes the batch of the published run nearest in size.
        network_bytes_per_s: per device and direction; None takes the usual one.
        own: what the user measured of the device, in place of the shipped figures.
        without: a source that the constants must not have seen.
    """

    layout: str = ""
    batch_tokens: int | None = None
    dtype: str = "bf16"
    software: str = DEFAULT_STACK
    optimizer: str = "adamw"
    network_bytes_per_s: float | None = None
    own: OwnRates | None = None
    cluster: str = ""
    without: str = ""


@frozen
class PredictedRun:
    """A training as a number of predicted steps.

    Attributes:
        tokens: of the whole training; a last, shorter step counts in proportion.
        layout_chosen: whether the layout was chosen here.
        batch_source: who trained with such a batch; empty where it was given.
        needed_bytes, fits: on the fullest device, and whether that leaves the reserve free.
        allowance: what published runs added over their steady steps; in none of the other figures.
    """

    prediction: Prediction
    tokens: int
    layout_chosen: bool
    batch_source: str
    needed_bytes: float
    fits: bool
    allowance: Allowance

    @property
    def num_steps(self) -> float:
        """Tokens over tokens of a step."""
        return self.tokens / self.prediction.tokens_per_step

    @property
    def wall_s(self) -> float:
        """Steady steps from first to last."""
        return self.num_steps * self.prediction.step_time_s

    @property
    def low_s(self) -> float:
        """The lower end of the 80 % interval of wall_s."""
        return self.num_steps * self.prediction.low_s

    @property
    def high_s(self) -> float:
        """The upper end."""
        return self.num_steps * self.prediction.high_s

    @property
    def days(self) -> float:
        """wall_s in days."""
        return self.wall_s / DAY_S

    @property
    def gpu_hours(self) -> float:
        """Device time of the steady steps in hours."""
        return self.wall_s * self.prediction.layout.num_devices / HOUR_S

    @property
    def whole_s(self) -> tuple[float, float, float]:
        """With the least, the middle and the largest allowance: interval's lower end, prediction, upper end."""
        a = self.allowance
        return self.low_s * (1 + a.low), self.wall_s * (1 + a.median), self.high_s * (1 + a.high)

    def energy_j(self, wall_s: float, share: float) -> float | None:
        """Energy of all boards at that share of their power limit; None where the limit is unpublished."""
        power_w = self.prediction.hardware.power_w
        return None if power_w is None else power_w * share * wall_s * self.prediction.layout.num_devices


def predicted_run(
    model: Model, *, tokens: int, seq_len: int, hardware: Hardware, num_devices: int, setup: Setup | None = None
) -> PredictedRun:
    """Predict a training from first principles; no utilisation is assumed.

    Raises:
        BadValueError: a model that is not covered, devices out of range, a layout that does not multiply to them or that the model
            cannot be cut by, a batch that does not divide, no peak for the dtype.
        DoesNotFitError: no layout was given and none fits.
        UnknownNameError: an unknown software.
    """
    setup = setup or Setup()
    check_devices(num_devices)
    if reason := not_covered(model, seq_len):
        raise BadValueError(f"{model.name} {reason}; no step of it is predicted")
    job = Job(
        model=model,
        hardware=hardware,
        seq_len=seq_len,
        dtype=setup.dtype,
        stack_id=setup.software,
        optimizer=setup.optimizer,
        cluster=setup.cluster,
        network_bytes_per_s=setup.network_bytes_per_s,
        own=setup.own,
        without=setup.without,
    )
    usual = usual_batch(job.work.params)
    layout = _layout(job, num_devices, setup, setup.batch_tokens or usual.batch_tokens)
    check_cuts(job.work, layout)
    prediction, needed = job.predict(layout), float(job.memory_bytes(layout))
    return PredictedRun(
        prediction=prediction,
        tokens=tokens,
        layout_chosen=not setup.layout,
        batch_source="" if setup.batch_tokens else _batch_source(usual, layout.global_batch * seq_len),
        needed_bytes=needed,
        fits=needed <= prediction.machine.memory_bytes,
        allowance=allowance(),
    )


def _batch_source(usual: UsualBatch, taken_tokens: int) -> str:
    """Whose batch is taken, and whether it had to be moved far."""
    whose = f"as {usual.model} was trained: {usual.batch_tokens:,} tokens ({usual.source})"
    moved = abs(taken_tokens / usual.batch_tokens - 1) > ROUNDING
    return f"{whose}, moved to a whole number of sequences per replica" if moved else whose


def _searched(job: Job, num_devices: int, batch_tokens: int) -> Layout | None:
    """The best of all legal layouts, for mixtures of experts: no short list covers their many ways. None where none fits."""
    from estimators.training.layouts.global_batch import Batch
    from estimators.training.layouts.search import search  # deferred: numpy

    batch = Batch(tokens=batch_tokens).on(num_devices, params=job.work.params, seq_len=job.seq_len)
    return next(iter(search(job, num_devices, batch).best(1)), None)


def _layout(job: Job, num_devices: int, setup: Setup, batch_tokens: int) -> Layout:
    """The layout that was given, or one that fits; its batch in whole sequences."""
    given = setup.batch_tokens is not None
    if not setup.layout:
        searched = _searched(job, num_devices, batch_tokens) if job.work.experts > 1 else None
        layout = searched or default_layout(
            job.holding,
            job.machine,
            num_devices,
            max(1, round(batch_tokens / job.seq_len)),
            step_time_s=lambda tried: float(job.ledger(tried).step_time_s),
            gradient_bytes=job.software.gradient_bytes,
            optimizer=job.optimizer,
        )
        if given:
            whole_batch(batch_tokens, seq_len=job.seq_len, unit=layout.dp, given=True)
        return layout
    fields = layout_fields(setup.layout, num_devices=num_devices)
    unit = fields["dp"] * fields.get("micro_batch", 1)
    if unit < 1:
        raise BadValueError(f"layout {setup.layout[:60]!r}: dp and micro_batch are whole numbers from 1")
    return Layout(global_batch=whole_batch(batch_tokens, seq_len=job.seq_len, unit=unit, given=given), **fields)
