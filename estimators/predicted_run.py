"""A whole training whose step is predicted, not assumed: days, energy and CO2 with their interval, and what runs add to that."""

from __future__ import annotations

from collections.abc import Callable

from estimators.batch import ROUNDING, UsualBatch, usual_batch, whole_batch
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.memory.device import device_memory
from estimators.memory.holding import Holding, holding_of
from estimators.memory.kernels import BY_STACK
from estimators.plan.default_layout import default_layout
from estimators.spec import Hardware, Model
from estimators.step_time.covered import not_covered
from estimators.step_time.efficiency import efficiency
from estimators.step_time.layout import Layout, layout_fields
from estimators.step_time.ledger import OPTIMIZER_BYTES, step_time
from estimators.step_time.legal import check_cuts
from estimators.step_time.machine import Machine, machine_of
from estimators.step_time.prediction import Prediction, predict
from estimators.step_time.software import DEFAULT_STACK, software, stack
from estimators.step_time.work import Work, work_of
from estimators.training import check_devices
from estimators.units import DAY_S, HOUR_S
from estimators.whole_run import Allowance, allowance


@frozen
class Setup:
    """How the step is run, where it is not left to be chosen; every field may stay as it is.

    Attributes:
        layout: such as ``tp=2,pp=1,zero=3,micro_batch=2``; empty takes one.
        batch_tokens: of one step, all devices together; None takes the batch of the published run nearest in size.
        network_bytes_per_s: per device and direction; None takes the usual one.
        without: a source that the constants must not have seen.
    """

    layout: str = ""
    batch_tokens: int | None = None
    dtype: str = "bf16"
    software: str = DEFAULT_STACK
    optimizer: str = "adamw"
    network_bytes_per_s: float | None = None
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
    if setup.optimizer not in OPTIMIZER_BYTES:
        raise BadValueError(f"optimizer {setup.optimizer!r} is unknown; expected one of: {', '.join(OPTIMIZER_BYTES)}")
    work = work_of(model, seq_len)
    usual = usual_batch(work.params)
    holding = holding_of(model, seq_len, BY_STACK[stack(setup.software).id], setup.dtype)
    layout = _layout(model, holding, hardware, num_devices, setup, setup.batch_tokens or usual.batch_tokens)
    check_cuts(work, layout)
    prediction = predict(
        model,
        seq_len,
        layout,
        hardware,
        dtype=setup.dtype,
        stack_id=setup.software,
        cluster=setup.cluster,
        network_bytes_per_s=setup.network_bytes_per_s,
        optimizer=setup.optimizer,
        without=setup.without,
    )
    gradient_bytes = prediction.stack.gradient_bytes
    needed = float(device_memory(holding, layout, gradient_bytes=gradient_bytes, optimizer=setup.optimizer).total_bytes)
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


def _step_time_of(work: Work, hardware: Hardware, machine: Machine, setup: Setup) -> Callable[[Layout], float]:
    e = efficiency(setup.without)
    runs_on = software(stack(setup.software), hardware.architecture, e)
    return lambda layout: float(step_time(work, layout, machine, runs_on, e, optimizer=setup.optimizer).step_time_s)


def _searched(model: Model, seq_len: int, hardware: Hardware, num_devices: int, setup: Setup, batch_tokens: int) -> Layout | None:
    """The best of all legal layouts, for mixtures of experts: no short list covers their many ways. None where none fits."""
    from estimators.plan.global_batch import Batch
    from estimators.plan.job import Job
    from estimators.plan.search import search

    job = Job(
        model=model,
        hardware=hardware,
        seq_len=seq_len,
        dtype=setup.dtype,
        stack_id=setup.software,
        optimizer=setup.optimizer,
        cluster=setup.cluster,
        network_bytes_per_s=setup.network_bytes_per_s,
    )
    batch = Batch(tokens=batch_tokens).on(num_devices, params=job.work.params, seq_len=seq_len)
    return next(iter(search(job, num_devices, batch).best(1)), None)


def _layout(model: Model, holding: Holding, hardware: Hardware, num_devices: int, setup: Setup, batch_tokens: int) -> Layout:
    """The layout that was given, or one that fits; its batch in whole sequences."""
    given, work = setup.batch_tokens is not None, holding.work
    if not setup.layout:
        machine = machine_of(hardware, setup.dtype, cluster=setup.cluster, network_bytes_per_s=setup.network_bytes_per_s)
        searched = _searched(model, work.seq_len, hardware, num_devices, setup, batch_tokens) if work.experts > 1 else None
        layout = searched or default_layout(
            holding,
            machine,
            num_devices,
            max(1, round(batch_tokens / work.seq_len)),
            step_time_s=_step_time_of(holding.work, hardware, machine, setup),
            gradient_bytes=stack(setup.software).gradient_bytes,
            optimizer=setup.optimizer,
        )
        if given:
            whole_batch(batch_tokens, seq_len=work.seq_len, unit=layout.dp, given=True)
        return layout
    fields = layout_fields(setup.layout, num_devices=num_devices)
    unit = fields["dp"] * fields.get("micro_batch", 1)
    if unit < 1:
        raise BadValueError(f"layout {setup.layout[:60]!r}: dp and micro_batch are whole numbers from 1")
    return Layout(global_batch=whole_batch(batch_tokens, seq_len=work.seq_len, unit=unit, given=given), **fields)
