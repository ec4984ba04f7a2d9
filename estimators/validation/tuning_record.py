"""What left-out steps of fine-tuning are missed by: as they are predicted, and where one step of the same kind scales the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from estimators.frozen import frozen, replace
from estimators.training.interval import COVERAGE
from estimators.tuning.constants import constants_file
from estimators.tuning.interval import CLASSES, class_of
from estimators.validation.score import quantile
from estimators.validation.tuning_time import TimedStep


@frozen
class MissedStep:
    """One step, predicted by constants that never saw its source.

    Attributes:
        kind: what one measured step speaks for: the same job on the same devices, whatever the batch and the length of rows.
        on: one of `tuning.interval.CLASSES`.
        log_ratio: logarithm of measured over predicted.
    """

    source: str
    kind: str
    on: str = "alone"
    log_ratio: float

    @property
    def error(self) -> float:
        """Predicted over measured, less 1; absolute."""
        return abs(math.exp(-self.log_ratio) - 1)


def missed_step(step: TimedStep) -> MissedStep:
    """A step and what it is missed by. Raises RequestError."""
    without = step.source if step.source in constants_file()["without"] else ""
    seconds = step.predicted(without=without).step_time_s
    assert step.case.device is not None
    job = replace(step.job, micro_batch=1, accumulation=1, seq_len=1)
    kind = f"{step.case.device.id} {hash(job)}"
    return MissedStep(source=step.source, kind=kind, on=class_of(step.job), log_ratio=math.log(step.measured_s / seconds))


def calibrated(missed: Sequence[MissedStep]) -> list[MissedStep]:
    """Every ordered pair of steps of one source and kind: what is left of the one where the other is the step that was measured."""
    groups: dict[tuple[str, str], list[MissedStep]] = {}
    for row in missed:
        groups.setdefault((row.source, row.kind), []).append(row)
    return [
        replace(row, log_ratio=row.log_ratio - other.log_ratio)
        for rows in groups.values()
        for row in rows
        for other in rows
        if other is not row
    ]


class Missed(Protocol):
    """A step that was missed by something."""

    @property
    def source(self) -> str: ...
    @property
    def error(self) -> float: ...


def median_of_sources(missed: Iterable[Missed]) -> float:
    """The median over sources of the median absolute error of at least one step."""
    by_source: dict[str, list[float]] = {}
    for row in missed:
        by_source.setdefault(row.source, []).append(abs(row.error))
    return median([median(errors) for errors in by_source.values()])


def median(values: Sequence[float]) -> float:
    """The middle one, of an even number the mean of both.

    >>> median([3.0, 1.0]), median([3.0, 1.0, 2.0])
    (2.0, 2.0)
    """
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def records(steps: Sequence[TimedStep]) -> dict[str, dict[str, float]]:
    """What tuning_record.json holds."""
    missed = [missed_step(step) for step in steps]
    classes = {name: [row for row in missed if row.on == name] for name in CLASSES}
    return {
        "all": _record(missed, len(missed)),
        **{name: _record(rows, len(rows)) for name, rows in classes.items()},
        "calibrated": _record(calibrated(missed), len(missed)),
    }


def _record(missed: Sequence[MissedStep], rows: int) -> dict[str, float]:
    low, high = _ends(missed)
    blind = {name: _ends([row for row in missed if row.source != name] or missed) for name in {row.source for row in missed}}
    held = sum(blind[row.source][0] <= row.log_ratio <= blind[row.source][1] for row in missed)
    return {
        "rows": rows,
        "sources": len(blind),
        "median_error": round(median_of_sources(missed), 4),
        "coverage": round(held / len(missed), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def _ends(missed: Sequence[MissedStep]) -> tuple[float, float]:
    """Quantiles that hold 80 % of the rows."""
    values, weights = [row.log_ratio for row in missed], [1.0] * len(missed)
    low, high = (quantile(values, weights, share) for share in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return min(low, 0.0), max(high, 0.0)
