"""What left-out rows of serving are missed by: by class, and where three rows of a deployment refit the constants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from estimators.frozen import frozen
from estimators.serving.device_work import KINDS
from estimators.serving.interval import model_kind
from estimators.training.interval import COVERAGE
from estimators.validation.score import quantile
from estimators.validation.serving_case import ServingCase

TO_HOLD = 0.78
"""Of the rows, what an interval of 80 % is to hold of sources that it has not seen, at least."""

WIDER = [1 + step / 20 for step in range(21)]
"""Factors on the logarithm of an interval's ends that are tried: up to twice."""


@frozen
class MissedFigure:
    """One figure, predicted by constants that had not seen its source.

    Attributes:
        log_ratio: logarithm of measured over predicted.
    """

    source: str
    log_ratio: float


def record_of(missed: Sequence[MissedFigure]) -> dict[str, float]:
    """What a class's record holds: ends from all rows, widened by what such ends need that had not seen a row's source to hold TO_HOLD of
    the rows, and the share that those hold."""
    sources = {row.source for row in missed}
    low, high = ends(missed)
    blind = {source: ends([row for row in missed if row.source != source] or missed) for source in sources}

    def held_by(factor: float) -> int:
        return sum(factor * blind[row.source][0] <= row.log_ratio <= factor * blind[row.source][1] for row in missed)

    factor = next((wider for wider in WIDER if held_by(wider) >= TO_HOLD * len(missed)), WIDER[-1])
    low, high, held = factor * low, factor * high, held_by(factor)
    errors = [abs(math.exp(-row.log_ratio) - 1) for row in missed]
    return {
        "rows": len(missed),
        "sources": len(sources),
        "median_error": round(quantile(errors, [1.0] * len(errors), 0.5), 4),
        "coverage": round(held / len(missed), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def ends(missed: Sequence[MissedFigure]) -> tuple[float, float]:
    """Quantiles that hold 80 % of the rows, a source's weighing as the root of their number."""
    numbers: dict[str, int] = {}
    for row in missed:
        numbers[row.source] = numbers.get(row.source, 0) + 1
    values, weights = [row.log_ratio for row in missed], [numbers[row.source] ** -0.5 for row in missed]
    low, high = (quantile(values, weights, share) for share in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return min(low, -0.02), max(high, 0.02)


def seen_of(cases: Iterable[ServingCase]) -> dict[str, list[str]]:
    """What measured rows have: generations of devices, formats by engine, kinds of models."""
    used = list({case.deployment for case in cases})
    return {
        "devices": sorted({d.hardware.generation for d in used}),
        "formats": sorted({f"{d.engine.id} {KINDS.get(d.weights, 'int')}" for d in used}),
        "models": sorted({model_kind(d) for d in used}),
    }


def body_of(missed: Mapping[str, Sequence[MissedFigure]], cases: Iterable[ServingCase]) -> dict[str, Any]:
    """What serving_record.json holds.

    Args:
        missed: class -> its rows.
    """
    return {"classes": {name: record_of(rows) for name, rows in sorted(missed.items()) if rows}, "seen": seen_of(cases)}
