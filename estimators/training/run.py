"""A whole training whose step is predicted, not assumed: days, energy and CO2 with their interval, and what runs add to that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.cost.layout import Layout, layout_fields
from estimators.errors import BadValueError
from estimators.facts.goodput import GoodputLoss, goodput_loss, run_factor
from estimators.frozen import frozen
from estimators.training.at_utilization import check_devices
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job
from estimators.training.prediction import Prediction
from estimators.units import DAY_S, HOUR_S

if TYPE_CHECKING:
    from estimators.training.layouts.planned import Plan


@frozen
class PredictedRun:
    """A training as a number of predicted steps.

    Attributes:
        tokens: of the whole training.
        layout_chosen: whether the layout was chosen here.
        devices_chosen: whether the number of devices was chosen here: the fewest that hold the training well.
        batch_source: who trained with such a batch; empty where it was given.
        needed_bytes, fits: on the fullest device, reserve included, and whether the device has that.
        held_bytes: the same; of a fine-tuning what is allocated.
        in_margin: whether it fills what plans leave free of a device's memory.
        goodput_loss: what published runs added over their steady steps; in none of the other figures.
    """

    prediction: Prediction
    tokens: int
    layout_chosen: bool
    devices_chosen: bool
    batch_source: str
    needed_bytes: float
    held_bytes: float
    fits: bool
    in_margin: bool
    goodput_loss: GoodputLoss

    @property
    def num_steps(self) -> float:
        """Of the whole training."""
        return self.prediction.num_steps(self.tokens)

    @property
    def wall_s(self) -> float:
        """Steady steps from first to last."""
        return self.prediction.run_s(self.tokens)

    @property
    def low_s(self) -> float:
        """The lower end of the 80 % interval of wall_s."""
        return self.prediction.run_s(self.tokens, self.prediction.low_s)

    @property
    def high_s(self) -> float:
        """The upper end."""
        return self.prediction.run_s(self.tokens, self.prediction.high_s)

    @property
    def days(self) -> float:
        """wall_s in days."""
        return self.wall_s / DAY_S

    @property
    def gpu_hours(self) -> float:
        """Device time of the steady steps in hours."""
        return self.wall_s * self.prediction.layout.num_devices / HOUR_S

    @property
    def planned_s(self) -> tuple[float, float, float]:
        """The whole run, which a plan and a claim are held to: at best, in the middle and at worst.

        It is the steady steps, times what published runs took over those that are predicted of them.

        Those were dense models on measured devices, nearly all: of others the step's own interval counts where it is wider.
        """
        f, p = run_factor(), self.prediction
        low, middle, high = (self.wall_s * factor for factor in (f.low, f.median, f.high))
        wide = p.case_class in ("experts", "unmeasured-device") or p.case_class.startswith("fine-tuning")
        return (min(low, self.low_s), middle, max(high, self.high_s)) if wide else (low, middle, high)

    def energy_j(self, wall_s: float, share: float) -> float | None:
        """Energy of all boards at that share of their power limit; None where the limit is unpublished."""
        power_w = self.prediction.hardware.power_w
        return None if power_w is None else power_w * share * wall_s * self.prediction.layout.num_devices


def predicted_run(
    job: Job, *, tokens: int, num_devices: int | None = None, batch: Batch = PUBLISHED_BATCH, layout: str = ""
) -> PredictedRun:
    """A training predicted from first principles; no utilisation is assumed.

    Args:
        num_devices: None takes the fewest that hold the training well.
        layout: such as ``tp=2,pp=1,zero=3,micro_batch=2``; empty takes the fastest that fits.

    Raises:
        BadValueError: devices out of range, a layout without a number of devices, one that does not multiply to them or that the model
            cannot be cut by, a batch that does not divide, no peak for the dtype.
        DoesNotFitError: no layout was given and none fits.
        UnknownNameError: an unknown software.
    """
    if layout:
        return _given(job, tokens, num_devices, batch, layout)
    if num_devices is None:
        from estimators.training.layouts.deadline import plan_on_fewest  # deferred: numpy

        return run_of(plan_on_fewest(job, batch), tokens, batch, devices_chosen=True)
    from estimators.training.layouts.planned import plan

    return run_of(plan(job, num_devices, batch, num_options=1), tokens, batch)


def run_of(plan: Plan, tokens: int, batch: Batch = PUBLISHED_BATCH, *, devices_chosen: bool = False) -> PredictedRun:
    """The training under the best layout of a plan.

    Args:
        batch: what was wished of the plan's batch.
        devices_chosen: whether the plan's number of devices was chosen.
    """
    best = plan.best
    return PredictedRun(
        prediction=best.prediction,
        tokens=tokens,
        layout_chosen=True,
        devices_chosen=devices_chosen,
        batch_source=plan.job.batch_source(batch, best.prediction.tokens_per_step),
        needed_bytes=plan.job.needed_bytes(best.layout),
        held_bytes=best.memory_bytes,
        fits=True,
        in_margin=best.in_margin,
        goodput_loss=goodput_loss(),
    )


def _given(job: Job, tokens: int, num_devices: int | None, batch: Batch, text: str) -> PredictedRun:
    """The training under a layout of the user's own, whether or not it fits."""
    if num_devices is None:
        raise BadValueError(f"layout {text[:60]!r} is one of a number of devices; add --gpus")
    check_devices(num_devices)
    fields = layout_fields(text, num_devices=num_devices)
    unit = fields["dp"] * fields.get("micro_batch", 1)
    if unit < 1:
        raise BadValueError(f"layout {text[:60]!r}: dp and micro_batch are whole numbers from 1")
    layout = Layout(global_batch=job.sequences_of(batch, unit, num_devices), **fields)
    job.check(layout)
    prediction, needed = job.predict(layout), job.needed_bytes(layout)
    return PredictedRun(
        prediction=prediction,
        tokens=tokens,
        layout_chosen=False,
        devices_chosen=False,
        batch_source=job.batch_source(batch, prediction.tokens_per_step),
        needed_bytes=needed,
        held_bytes=float(job.on(layout).memory_bytes(layout)),
        fits=job.fits(layout),
        in_margin=needed > job.plannable_bytes,
        goodput_loss=goodput_loss(),
    )
