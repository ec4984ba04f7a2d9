"""What the ranks of one training tell one another at its end: one exchange, on every rank at the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist

from bench.callbacks.steps import Step
from bench.machine import ranks
from bench.records.proof import WatchedRank
from bench.statistics import robust


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """One rank's training.

    Attributes:
        rank, device, uuid: who, on what.
        steps: in order.
        power: of its device.
        peak_bytes: memory by instrument.
        params_changed, params_finite: whether all of its trained parameters changed, None where that is not known, and are numbers.
        observer_s: what watching cost.
        failed: figure that this rank could not read -> why.
    """

    rank: int
    device: str
    uuid: str | None
    steps: tuple[Step, ...]
    power: Mapping[str, float | None]
    peak_bytes: Mapping[str, int | None]
    params_changed: bool | None
    params_finite: bool
    observer_s: float
    failed: Mapping[str, str] = field(default_factory=dict)


def num_ranks() -> int:
    """Ranks of this training; 1 where torch's process group is not up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them."""
    return dist.get_rank() if num_ranks() > 1 else 0


def is_main() -> bool:
    """Whether this process prints and saves."""
    return rank() == 0 if num_ranks() > 1 else ranks.is_main()


def exchange(own: RankReport) -> list[RankReport]:
    """The reports of all ranks, in their order; every rank must call it."""
    if num_ranks() == 1:
        return [own]
    reports: list[Any] = [None] * num_ranks()
    dist.all_gather_object(reports, own)
    return reports


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSteps:
    """A training of several ranks as one.

    Attributes:
        periods_s, host_s: per step, of the slowest rank: the others waited for it.
        device_s: likewise; empty without device events.
        waits_s, others_s: exposed data wait, and time of savers, evaluators and other callbacks, per step: of the rank that had most.
        items, positions, paddings, loss_tokens: per step, summed over the ranks; None where a rank's batch does not tell.
        unsized: why the size of a batch is not known; empty where all are.
        losses: per step, the mean over the ranks; None where one gave none.
    """

    periods_s: tuple[float, ...]
    host_s: tuple[float, ...]
    device_s: tuple[float, ...]
    waits_s: tuple[float, ...]
    others_s: tuple[float, ...]
    items: tuple[int | None, ...]
    positions: tuple[int, ...]
    paddings: tuple[int | None, ...]
    loss_tokens: tuple[int | None, ...]
    losses: tuple[float | None, ...]
    unsized: str = ""


def joined_steps(reports: Sequence[RankReport]) -> JoinedSteps:
    """Steps of all ranks by number; those that not every rank has taken are left out."""
    at_once = list(zip(*(report.steps for report in reports), strict=False))
    devices = [[step.device_s for step in steps if step.device_s is not None] for steps in at_once]
    return JoinedSteps(
        periods_s=tuple(max(step.period_s for step in steps) for steps in at_once),
        host_s=tuple(max(step.host_s for step in steps) for steps in at_once),
        device_s=tuple(max(times_s) for times_s in devices) if all(devices) else (),
        waits_s=tuple(max(step.exposed_wait_s for step in steps) for steps in at_once),
        others_s=tuple(max(step.others_s for step in steps) for steps in at_once),
        items=tuple(total([step.num_items for step in steps]) for steps in at_once),
        positions=tuple(sum(step.num_positions for step in steps) for steps in at_once),
        paddings=tuple(total([step.num_padding for step in steps]) for steps in at_once),
        loss_tokens=tuple(total([step.num_loss_tokens for step in steps]) for steps in at_once),
        losses=tuple(_mean([step.loss for step in steps]) for steps in at_once),
        unsized=next((step.unsized for steps in at_once for step in steps if step.unsized), ""),
    )


def total(values: Sequence[int | None]) -> int | None:
    """Their sum; None where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def rows(reports: Sequence[RankReport], skip: int) -> tuple[WatchedRank, ...]:
    """One row per rank, as a record keeps them: medians of its steps after the warm-up, and its tokens of all steps."""

    def row(report: RankReport) -> WatchedRank:
        steady = report.steps[skip:]
        return WatchedRank(
            rank=report.rank,
            device=report.device,
            uuid=report.uuid,
            num_steps=len(report.steps),
            num_items=total([step.num_items for step in report.steps]),
            median_step_s=robust.median([step.period_s for step in steady]) if steady else None,
            median_data_wait_s=robust.median([step.exposed_wait_s for step in steady]) if steady else None,
            peak_bytes=dict(report.peak_bytes),
        )

    return tuple(map(row, reports))


def skew_fraction(ranked: Sequence[WatchedRank]) -> float | None:
    """How much longer the slowest rank's median step is than the fastest's: (max - min) / min; None for one rank."""
    medians = [row.median_step_s for row in ranked if row.median_step_s]
    return (max(medians) - min(medians)) / min(medians) if len(medians) > 1 else None
