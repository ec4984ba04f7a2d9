"""What the ranks of one training report, and a training of several reports as one."""

from __future__ import annotations

import dataclasses
import pickle
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from bench.callbacks.steps import Step
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
        counting_s: what counting the kinds of pass took.
        processor_s: of the training's thread inside its steps; None where a device beside the processor does the work.
        failed: figure that this rank could not read -> why.
        status, reason: how it ended, as a record's; partial while it runs.
        num_ends: how often it has come to an end.
        batches: what it was given, the same for ranks that were given the same; see bench.callbacks.same_batches. None where it is its own.
        num_unsent_steps, num_unsent_items: of the steps that found no room in the report.
    """

    rank: int
    device: str
    uuid: str | None
    steps: Sequence[Step]
    power: Mapping[str, float | None]
    peak_bytes: Mapping[str, int | None]
    params_changed: bool | None
    params_finite: bool
    observer_s: float
    failed: Mapping[str, str] = field(default_factory=dict)
    status: str = "complete"
    reason: str = ""
    num_ends: int = 0
    batches: Hashable | None = None
    num_unsent_steps: int = 0
    num_unsent_items: int | None = 0
    counting_s: float = 0.0
    processor_s: float | None = None

    @property
    def num_steps(self) -> int:
        """All steps, those without room included."""
        return len(self.steps) + self.num_unsent_steps

    @property
    def num_items(self) -> int | None:
        """Tokens or samples of all steps; None where a batch does not tell."""
        return total([*(step.num_items for step in self.steps), self.num_unsent_items])


def packed(report: RankReport, room_bytes: int) -> bytes:
    """A report as it is sent; where the room is too small its last steps become two sums."""
    whole = zlib.compress(pickle.dumps(report), 1)
    while len(whole) > room_bytes and report.steps:
        kept = len(report.steps) * room_bytes // (2 * len(whole))  # half of what fits: steps do not pack alike
        left_out = report.steps[kept:]
        report = dataclasses.replace(
            report,
            steps=report.steps[:kept],
            num_unsent_steps=report.num_unsent_steps + len(left_out),
            num_unsent_items=total([report.num_unsent_items, *(step.num_items for step in left_out)]),
        )
        whole = zlib.compress(pickle.dumps(report), 1)
    return whole


def unpacked(sent: bytes) -> RankReport:
    """The report that another rank of this training sent."""
    report = pickle.loads(zlib.decompress(sent))
    assert isinstance(report, RankReport)
    return report


def distinct(reports: Sequence[RankReport]) -> list[RankReport]:
    """The reports whose batches count: of ranks that were given the same batches the one with the most steps."""
    by_batches: dict[Hashable, RankReport] = {}
    for report in reports:
        key = ("rank", report.rank) if report.batches is None else ("batches", report.batches)
        if key not in by_batches or len(report.steps) > len(by_batches[key].steps):
            by_batches[key] = report
    return list(by_batches.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSteps:
    """A training of several ranks as one.

    Attributes:
        periods_s, host_s: per step, of the slowest rank: the others waited for it.
        device_s: likewise; empty without device events.
        waits_s, others_s: exposed data wait, and time of savers, evaluators and other callbacks, per step: of the rank that had most.
        items, positions, paddings, loss_tokens: per step, summed over the ranks, the same batch once; None where a batch does not tell.
        num_unsent_items: of the steps that found no room in a report, beside `items`.
        unsized: why the size of a batch is not known; empty where all are.
        losses: per step, the mean over the ranks; None where one gave none.
        updates, skipped: per step, of optimizers and of their scaler, of the rank that had most: the others' are the same ones.
        num_batches: of all ranks, the same one once; None where one is not known.
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
    updates: tuple[int, ...]
    skipped: tuple[int, ...]
    num_batches: int | None
    num_unsent_items: int | None = 0
    unsized: str = ""


def joined_steps(reports: Sequence[RankReport]) -> JoinedSteps:
    """Steps of all ranks by number; a step that not every rank took is that of those that did."""
    at_once = _by_number(reports)
    counted = _by_number(distinct(reports))
    devices = [[step.device_s for step in steps if step.device_s is not None] for steps in at_once]
    return JoinedSteps(
        periods_s=tuple(max(step.period_s for step in steps) for steps in at_once),
        host_s=tuple(max(step.host_s for step in steps) for steps in at_once),
        device_s=tuple(max(times_s) for times_s in devices) if all(devices) else (),
        waits_s=tuple(max(step.exposed_wait_s for step in steps) for steps in at_once),
        others_s=tuple(max(step.others_s for step in steps) for steps in at_once),
        items=tuple(total([step.num_items for step in steps]) for steps in counted),
        positions=tuple(sum(step.num_positions for step in steps) for steps in counted),
        paddings=tuple(total([step.num_padding for step in steps]) for steps in counted),
        loss_tokens=tuple(total([step.num_loss_tokens for step in steps]) for steps in counted),
        num_unsent_items=total([report.num_unsent_items for report in distinct(reports)]),
        losses=tuple(_mean([step.loss for step in steps]) for steps in at_once),
        updates=tuple(max(step.num_updates for step in steps) for steps in at_once),
        skipped=tuple(max(step.num_skipped for step in steps) for steps in at_once),
        num_batches=total([len(step.shapes) or None for steps in counted for step in steps]),
        unsized=next((step.unsized for steps in at_once for step in steps if step.unsized), ""),
    )


def _by_number(reports: Sequence[RankReport]) -> list[list[Step]]:
    return [[step for step in steps if step is not None] for steps in zip_longest(*(report.steps for report in reports))]


def total(values: Sequence[int | None]) -> int | None:
    """Their sum; None where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def rows(reports: Sequence[RankReport], skip: int) -> tuple[WatchedRank, ...]:
    """One row per rank, as a record keeps them: medians of its steps after the warm-up, and its tokens of all steps."""

    counted = {report.batches: report.rank for report in distinct(reports) if report.batches is not None}

    def row(report: RankReport) -> WatchedRank:
        steady = report.steps[skip:]
        given_to = counted.get(report.batches, report.rank)
        return WatchedRank(
            rank=report.rank,
            device=report.device,
            uuid=report.uuid,
            num_steps=report.num_steps,
            num_items=report.num_items,
            median_step_s=robust.median([step.period_s for step in steady]) if steady else None,
            median_data_wait_s=robust.median([step.exposed_wait_s for step in steady]) if steady else None,
            peak_bytes=dict(report.peak_bytes),
            **({"same_batches_as": given_to} if given_to != report.rank else {}),
        )

    return tuple(map(row, reports))


def skew_fraction(ranked: Sequence[WatchedRank]) -> float | None:
    """How much longer the slowest rank's median step is than the fastest's: (max - min) / min; None for one rank."""
    medians = [row.median_step_s for row in ranked if row.median_step_s]
    return (max(medians) - min(medians)) / min(medians) if len(medians) > 1 else None
