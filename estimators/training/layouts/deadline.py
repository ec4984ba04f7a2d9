"""How many devices: the fewest that hold a training well, those that a deadline or a budget asks for, and what physics allows at best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.training.layouts.feasibility import raise_nothing_fits
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.planned import Plan, best_of
from estimators.training.layouts.restriction import ANYTHING, OnProgress, Restriction
from estimators.training.layouts.search import Search, search
from estimators.units import format_count, format_duration, format_int, format_money

MOST_DEVICES = 16_384
"""Where nobody says how many there may be."""

TIGHT = 1.1
"""Device time over that on the next larger number of devices, above which a training is held too tightly."""


def bound_s(job: Job, tokens: int, num_devices: int) -> float | None:
    """Least time that physics allows: FLOP that no kernel may skip over the dense peak of all devices; None without a peak."""
    peak = job.hardware.peak_flop_per_s.get(job.dtype)
    if not peak:
        return None
    work = job.work
    needed_flop = work.forward_flop(causal=True) + work.backward_flop(causal=True)
    return needed_flop * tokens / job.seq_len / peak / num_devices


def check_deadline(job: Job, tokens: int, num_devices: int, deadline_s: float) -> None:
    """Raises BadValueError where no software can meet a deadline on so many devices."""
    least = bound_s(job, tokens, num_devices)
    if least is not None and least > deadline_s:
        needed = -(-least * num_devices // deadline_s)
        raise BadValueError(
            f"{format_duration(deadline_s)} is less than physics allows on {num_devices:,} x {job.hardware.id}: the FLOP that no kernel "
            f"may skip take {format_duration(least)} at its peak; at least {format_int(int(needed))} GPUs, or {format_duration(least)}"
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


def plan_on_fewest(job: Job, batch: Batch = PUBLISHED_BATCH) -> Plan:
    """The best layout on the fewest devices that hold the training without paying for it.

    Of the numbers that people rent, the first on which some layout fits; where the next one takes less device time by more than
    TIGHT, what the first lacks in memory is paid in recomputation, and the next one is looked at.

    Raises:
        DoesNotFitError: none of them holds it.
        BadValueError: a batch that no number of devices shares.
    """
    held: Plan | None = None
    for searched in _searches(job, list(device_counts(job, MOST_DEVICES)), batch):
        if not searched.num_fitting:
            if held is not None:
                break
            continue
        following = best_of(searched)
        if held is not None and _device_s(held) <= TIGHT * _device_s(following):
            break
        held = following
    if held is None:
        raise_nothing_fits(searched)
    return held


def _searches(
    job: Job, counts: Sequence[int], batch: Batch, restriction: Restriction = ANYTHING, on_progress: OnProgress | None = None
) -> Iterator[Search]:
    """The search on each number of devices that may hold the job, smallest first; the last number in any case.

    What all devices hold together does not shrink as they grow in number, so that numbers below it over a device's memory are passed.

    Raises:
        BadValueError: a batch that no number of devices shares.
    """
    least, num_searches = 0.0, 0
    for num in counts:
        if num < least and num != counts[-1]:
            continue
        try:
            sequences = job.sequences(batch, num)
        except BadValueError:
            if num == counts[-1] and not num_searches:
                raise
            continue
        searched = search(job, num, sequences, restriction, on_progress=on_progress)
        num_searches += 1
        if not searched.num_fitting and (smallest := searched.smallest()) is not None:
            least = max(least, num * smallest[1] / searched.capacity_bytes)
        yield searched


def _device_s(plan: Plan) -> float:
    """Device time of a token."""
    return 1 / plan.best.prediction.tokens_per_s_per_device


@frozen
class PlanLimits:
    """What a run may take.

    Attributes:
        num_devices: exactly so many; None leaves them open.
        max_devices: at most so many, where they are open.
        usd_per_gpu_hour: what the budget is counted with.
    """

    num_devices: int | None = None
    max_devices: int | None = None
    deadline_s: float | None = None
    budget_usd: float | None = None
    usd_per_gpu_hour: float | None = None

    def __post_init__(self) -> None:
        if self.budget_usd is not None and self.usd_per_gpu_hour is None:
            raise BadValueError("no rental price of this device is known, so that a budget says nothing; give one with --price USD")
        if self.num_devices and self.max_devices and self.num_devices > self.max_devices:
            raise BadValueError(f"--gpus {self.num_devices:,} is more than --max-gpus {self.max_devices:,}; give one of them")

    def cost_usd(self, plan: Plan, tokens: int) -> float | None:
        """Of the steady steps; None without a price."""
        return None if self.usd_per_gpu_hour is None else plan.gpu_hours(tokens) * self.usd_per_gpu_hour


def plan_within(
    job: Job,
    tokens: int,
    limits: PlanLimits,
    batch: Batch = PUBLISHED_BATCH,
    restriction: Restriction = ANYTHING,
    *,
    num_options: int = 5,
    on_progress: OnProgress | None = None,
) -> Plan:
    """The plan that keeps to the limits: with a deadline on the fewest devices that meet it, else the fastest.

    Raises:
        BadValueError: physics or money forbids it, or no layout makes it.
        DoesNotFitError: the model fits on none of the numbers of devices.
    """
    most = limits.num_devices or limits.max_devices or MOST_DEVICES
    if limits.deadline_s is not None:
        check_deadline(job, tokens, most, limits.deadline_s)
    counts = [limits.num_devices] if limits.num_devices else list(device_counts(job, most))
    if limits.deadline_s is not None:
        counts = [num for num in counts if (bound_s(job, tokens, num) or 0.0) <= limits.deadline_s]
    plans: list[Plan] = []
    for searched in _searches(job, counts, batch, restriction, on_progress):
        if not searched.num_fitting:
            continue
        plans.append(best_of(searched, num_options))
        if limits.deadline_s is not None and plans[-1].run_s(tokens) <= limits.deadline_s and _affordable(plans[-1], tokens, limits):
            return plans[-1]
    if not plans:
        raise_nothing_fits(searched)
    affordable = [plan for plan in plans if _affordable(plan, tokens, limits)]
    if not affordable:
        raise BadValueError(_too_dear(job, tokens, limits, plans))
    fastest = min(affordable, key=lambda plan: plan.run_s(tokens))
    if limits.deadline_s is not None:
        raise BadValueError(_too_slow(job, tokens, limits, fastest, most))
    return fastest


def _affordable(plan: Plan, tokens: int, limits: PlanLimits) -> bool:
    cost = limits.cost_usd(plan, tokens)
    return limits.budget_usd is None or (cost is not None and cost <= limits.budget_usd)


def _too_slow(job: Job, tokens: int, limits: PlanLimits, fastest: Plan, most: int) -> str:
    assert limits.deadline_s is not None
    within = "" if limits.budget_usd is None else f" and {format_money(limits.budget_usd)}"
    return (
        f"no layout of {job.trained.name} on at most {most:,} x {job.hardware.id} is done in {format_duration(limits.deadline_s)}{within}: "
        f"the fastest takes {format_duration(fastest.run_s(tokens))} on {fastest.num_devices:,}; give that, or more with --max-gpus"
    )


def _too_dear(job: Job, tokens: int, limits: PlanLimits, plans: list[Plan]) -> str:
    assert limits.budget_usd is not None
    costs = {plan.num_devices: limits.cost_usd(plan, tokens) or 0.0 for plan in plans}
    num = min(costs, key=lambda count: costs[count])
    return (
        f"{format_money(limits.budget_usd)} does not pay for {format_count(tokens)} tokens of {job.trained.name} on {job.hardware.id}: "
        f"the cheapest plan costs {format_money(costs[num])} on {num:,} at ${limits.usd_per_gpu_hour:g} per GPU-hour; that money buys "
        f"{format_count(tokens * limits.budget_usd / costs[num])} tokens"
    )
