"""Days against devices: where more of them stop paying, the fewest that meet a deadline, what physics allows at best."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.errors import BadValueError, DoesNotFitError
from estimators.frozen import frozen
from estimators.plan.job import Job
from estimators.plan.planned import Plan, plan
from estimators.step_time.prediction import PEAK_DTYPES
from estimators.units import format_duration, format_int

DOUBLINGS = 6
WORTH_DOUBLING = 1.5
"""A doubling of the devices that buys less than this factor of speed is marked: a quarter of what was bought is lost."""


@frozen
class Point:
    """The best plan on one number of devices.

    Attributes:
        gain: how many times as fast as half the devices; None for the first.
        reason: why there is no plan, where there is none.
    """

    num_devices: int
    plan: Plan | None
    run_s: float | None
    gain: float | None
    reason: str = ""

    @property
    def pays(self) -> bool | None:
        """Whether the doubling was worth it; None where nobody can say."""
        return None if self.gain is None else self.gain >= WORTH_DOUBLING


def scaling_curve(job: Job, tokens: int, num_devices: int, global_batch: int, *, doublings: int = DOUBLINGS) -> tuple[Point, ...]:
    """Days on 1, 2, 4 ... times as many devices, each with its own best layout, the global batch held."""
    points: list[Point] = []
    for power in range(doublings + 1):
        num = num_devices << power
        try:
            best = plan(job, num, global_batch, num_options=1)
        except (BadValueError, DoesNotFitError) as error:
            points.append(Point(num_devices=num, plan=None, run_s=None, gain=None, reason=str(error)))
            continue
        before = points[-1].run_s if points else None
        run = best.run_s(tokens)
        points.append(Point(num_devices=num, plan=best, run_s=run, gain=before / run if before else None))
    return tuple(points)


def bound_s(job: Job, tokens: int, num_devices: int) -> float | None:
    """Least time that physics allows: FLOP that no kernel may skip over the dense peak of all devices; None without a peak."""
    peak = job.hardware.peak_flop_per_s.get(PEAK_DTYPES.get(job.dtype, job.dtype))
    if not peak:
        return None
    work = job.work
    trained = 2 + work.trained_params / work.params
    return trained * work.forward_flop(causal=True) * tokens / job.seq_len / peak / num_devices


def check_deadline(job: Job, tokens: int, num_devices: int, deadline_s: float) -> None:
    """Raises BadValueError where no software can meet a deadline on so many devices."""
    least = bound_s(job, tokens, num_devices)
    if least is not None and least > deadline_s:
        needed = -(-least * num_devices // deadline_s)
        raise BadValueError(
            f"{format_duration(deadline_s)} is less than physics allows on {num_devices:,} x {job.hardware.id}: the FLOP that no kernel may "
            f"skip take {format_duration(least)} at its dense peak; at least {format_int(int(needed))} GPUs, or {format_duration(least)}"
        )


def device_counts(job: Job, most: int) -> Iterator[int]:
    """Numbers of devices that people rent: powers of two up to a node, then nodes by 2^k and 3·2^k; `most` itself last."""
    node = max(1, job.hardware.devices_per_node or 8)
    counts = {1 << power for power in range(node.bit_length()) if 1 << power <= node}
    size = node
    while size <= most:
        counts |= {size, size * 3 // 2 if size > node else size}
        size *= 2
    yield from sorted(count for count in counts | {most} if count <= most)


def fewest_for_deadline(job: Job, tokens: int, deadline_s: float, most: int, global_batch: int | None) -> Plan:
    """The plan on the fewest devices that meets a deadline.

    Raises:
        BadValueError: physics forbids it, or no layout on at most `most` devices makes it.
    """
    check_deadline(job, tokens, most, deadline_s)
    best: tuple[float, Plan] | None = None
    for num in device_counts(job, most):
        least = bound_s(job, tokens, num)
        if least is not None and least > deadline_s:
            continue
        try:
            found = plan(job, num, global_batch)
        except (BadValueError, DoesNotFitError):
            continue
        seconds = found.run_s(tokens)
        if seconds <= deadline_s:
            return found
        if best is None or seconds < best[0]:
            best = (seconds, found)
    if best is None:
        plan(job, most, global_batch)
    assert best is not None
    raise BadValueError(
        f"no layout of {job.model.name} on at most {most:,} x {job.hardware.id} is done in {format_duration(deadline_s)}: the fastest "
        f"takes {format_duration(best[0])} on {best[1].num_devices:,}; give that deadline, or more with --max-gpus"
    )
