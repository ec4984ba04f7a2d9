"""Days against devices, and where more of them stop paying."""

from __future__ import annotations

from estimators.errors import BadValueError, DoesNotFitError
from estimators.frozen import frozen
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.planned import Plan, plan
from estimators.training.layouts.restriction import ANYTHING, Restriction

DOUBLINGS = 6
WORTH_DOUBLING = 1.5
"""A doubling of the devices that buys less than this factor of speed is marked: a quarter of what was bought is lost."""


@frozen
class Point:
    """The best plan on one number of devices.

    Attributes:
        run_s, low_s, high_s: of steady steps, and the ends of their 80 % interval.
        gain: how many times as fast as half the devices; None for the first.
        reason: why there is no plan, where there is none.
    """

    num_devices: int
    plan: Plan | None
    run_s: float | None
    gain: float | None
    low_s: float | None = None
    high_s: float | None = None
    reason: str = ""

    @property
    def pays(self) -> bool | None:
        """Whether the doubling was worth it; None where nobody can say."""
        return None if self.gain is None else self.gain >= WORTH_DOUBLING


def scaling_curve(
    job: Job, tokens: int, num_devices: int, global_batch: int, restriction: Restriction = ANYTHING, *, doublings: int = DOUBLINGS
) -> tuple[Point, ...]:
    """Days on 1, 2, 4 ... times as many devices, each with its own best layout, the global batch held."""
    points: list[Point] = []
    for power in range(doublings + 1):
        num = num_devices << power
        try:
            best = plan(job, num, Batch(sequences=global_batch), restriction, num_options=1)
        except (BadValueError, DoesNotFitError) as error:
            points.append(Point(num_devices=num, plan=None, run_s=None, gain=None, reason=str(error)))
            continue
        before = points[-1].run_s if points else None
        run, step = best.run_s(tokens), best.best.prediction
        low, high = (best.run_s(tokens, end_s) for end_s in (step.low_s, step.high_s))
        points.append(Point(num_devices=num, plan=best, run_s=run, gain=before / run if before else None, low_s=low, high_s=high))
    return tuple(points)
