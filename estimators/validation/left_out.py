"""What left-out rows were missed by: the ends of intervals by class, track records, and how a naive predictor would have done."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from estimators.frozen import frozen
from estimators.training.interval import BAD_MEDIAN, COVERAGE, ENOUGH, case_class, is_measured, machine_room
from estimators.validation.case import MeasuredStep
from estimators.validation.score import Scored, quantile

ROWS_POWER = 0.5
"""A source of n rows weighs n to this power in an end: more rows say more, but rows of one machine repeat one another."""

OUTSIDE = 2 / (1 - COVERAGE)
"""What the interval score takes per unit that a row lies outside: 10 for an interval of 80 %."""


@frozen
class Missed:
    """A left-out row.

    Attributes:
        log_ratio: logarithm of measured over predicted.
    """

    name: str
    source: str
    device: str
    software: str
    log_ratio: float


@frozen
class ClassScore:
    """Left-out rows of one class under one predictor.

    Attributes:
        median, p90: of the absolute relative error.
        coverage, blind_coverage: share of rows in the interval, and in one whose ends had not seen the row's source either.
        width: upper over lower end, in the median.
        interval_score: mean of the interval's width and what lies outside, ten times, as logarithms; less is better.
    """

    rows: int
    sources: int
    median: float
    p90: float
    coverage: float
    blind_coverage: float
    width: float
    interval_score: float


def measured_devices(rows: Sequence[Scored]) -> frozenset[str]:
    """Ids of the devices that enough wholly stated pre-training steps ran on, or some beside many of their generation."""
    whole = [row.step.hardware for row in rows if row.step and row.error is not None and _is_whole(row.step)]
    generations = Counter(device.generation for device in whole)
    return frozenset(device.id for device in whole if generations[device.generation] >= ENOUGH)


def _is_whole(step: MeasuredStep) -> bool:
    return not step.assumed and not step.apart and step.kind in ("pre-training", "forced balance")


def class_of(row: Scored, devices: Collection[str] | None = None) -> str | None:
    """The class of a row that is scored; None for one that says nothing of a prediction: set apart, adapters, fine-tuning.

    A row on a device without measured steps says something of such devices, whatever was left out of it.

    Args:
        devices: on which steps were measured; None for those of the track records.
    """
    if row.step is None or row.error is None:
        return None
    measured = is_measured(row.step.hardware, devices=devices)
    if measured and not _is_whole(row.step):
        return "completed-row" if row.step.assumed else None
    return case_class(row.step.stack.id, experts=row.step.work.experts > 1, measured=measured)


def missed(rows: Sequence[Scored], devices: Collection[str] | None = None) -> list[Missed]:
    """Every row that has a class, with what it was missed by.

    Args:
        devices: as `class_of` takes them.
    """
    return [
        Missed(
            name=name,
            source=row.step.source,
            device=row.step.hardware.id,
            software=row.step.stack.id,
            log_ratio=-math.log1p(row.error),
        )
        for row in rows
        if (name := class_of(row, devices)) and row.step is not None and row.error is not None
    ]


def ends(rows: Sequence[Missed]) -> tuple[float, float]:
    """Quantiles of the logarithms, weighed by source, that hold 80 % of the rows."""
    count = Counter(row.source for row in rows)
    values, weights = [row.log_ratio for row in rows], [count[row.source] ** (ROWS_POWER - 1) for row in rows]
    return quantile(values, weights, (1 - COVERAGE) / 2), quantile(values, weights, (1 + COVERAGE) / 2)


Ends = Mapping[tuple[str, str], tuple[float, float]]
"""(class or device, its name) -> ends."""


def all_ends(rows: Sequence[Missed]) -> Ends:
    """Of every class, and of every device whose rows are far off."""
    by_class, by_device = _groups(rows, lambda row: row.name), _groups(_of_devices(rows), lambda row: row.device)
    far_off = {name: members for name, members in by_device.items() if len(members) >= ENOUGH and _median(members) > BAD_MEDIAN}
    return {("class", name): ends(members) for name, members in by_class.items()} | {
        ("device", name): ends(members) for name, members in far_off.items()
    }


def _median(rows: Sequence[Missed]) -> float:
    return quantile([abs(math.exp(-row.log_ratio) - 1) for row in rows], [1.0] * len(rows), 0.5)


def _of_devices(rows: Sequence[Missed]) -> list[Missed]:
    """Rows that say something of a device itself: wholly stated, on one with measured steps."""
    return [row for row in rows if row.name not in ("completed-row", "unmeasured-device")]


def _groups(rows: Sequence[Missed], name: Callable[[Missed], str]) -> dict[str, list[Missed]]:
    groups: dict[str, list[Missed]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return groups


def interval_of(row: Missed, found: Ends) -> tuple[float, float]:
    """The interval of a row as logarithms around its prediction, as `training.interval` makes it."""
    known = [found[key] for key in (("class", row.name), ("device", row.device)) if key in found]
    return min([0.0, *(low for low, _ in known)]), max([machine_room(row.device), *(high for _, high in known)])


def records(rows: Sequence[Missed]) -> dict[str, dict[str, dict[str, Any]]]:
    """Track records by kind and name, as track_record.json holds them."""
    found = all_ends(rows)
    kinds: tuple[tuple[str, Sequence[Missed], Callable[[Missed], str]], ...] = (
        ("class", rows, lambda row: row.name),
        ("device", _of_devices(rows), lambda row: row.device),
        ("software", _of_devices(rows), lambda row: row.software),
    )
    return {
        kind: {name: _record(members, found) for name, members in sorted(_groups(members_of, key).items())}
        for kind, members_of, key in kinds
    }


def _record(rows: Sequence[Missed], found: Ends) -> dict[str, Any]:
    low, high = ends(rows)
    return {
        "rows": len(rows),
        "median_error": round(_median(rows), 4),
        "bias": round(quantile([math.exp(-row.log_ratio) - 1 for row in rows], [1.0] * len(rows), 0.5), 4),
        "coverage": round(sum(_holds(row, interval_of(row, found)) for row in rows) / len(rows), 4),
        "ends": [math.floor(low * 1e4) / 1e4, math.ceil(high * 1e4) / 1e4],  # outwards: an end is a row's, and holds it
    }


def _holds(row: Missed, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= row.log_ratio <= bounds[1]


def class_scores(rows: Sequence[Missed]) -> dict[str, ClassScore]:
    """By class: errors, how often the interval held, how wide it is, and what both come to."""
    found = all_ends(rows)
    blind = {source: all_ends([row for row in rows if row.source != source]) for source in {row.source for row in rows}}
    return {name: _class_score(members, found, blind) for name, members in _groups(rows, lambda row: row.name).items()}


def _class_score(rows: Sequence[Missed], found: Ends, blind: Mapping[str, Ends]) -> ClassScore:
    even, errors = [1.0] * len(rows), [abs(math.exp(-row.log_ratio) - 1) for row in rows]
    bounds = [interval_of(row, found) for row in rows]
    outside = [max(low - row.log_ratio, row.log_ratio - high, 0.0) for row, (low, high) in zip(rows, bounds, strict=True)]
    widths = [high - low for low, high in bounds]
    return ClassScore(
        rows=len(rows),
        sources=len({row.source for row in rows}),
        median=quantile(errors, even, 0.5),
        p90=quantile(errors, even, 0.9),
        coverage=sum(not far for far in outside) / len(rows),
        blind_coverage=sum(_holds(row, interval_of(row, blind[row.source])) for row in rows) / len(rows),
        width=math.exp(quantile(widths, even, 0.5)),
        interval_score=sum(width + OUTSIDE * far for width, far in zip(widths, outside, strict=True)) / len(rows),
    )
