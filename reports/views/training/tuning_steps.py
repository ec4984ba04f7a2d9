"""Steps of fine-tuning against what is predicted of them: by source, each left out of the fit, by method, and after one measured step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from estimators.tuning.interval import track_record
from estimators.units import format_fraction, format_int, format_signed_fraction
from estimators.validation.tuning_record import median, median_of_sources, missed_step
from estimators.validation.tuning_time import ScoredStep, TimedStep
from reports.table import Column, Table, Value


def tuning_tables(rows: Sequence[ScoredStep]) -> list[Table]:
    """By source, by method and format, and why rows are left out."""
    return [_by_source(rows), _by_kind(rows), _left_out(rows)]


def _steps(rows: Sequence[ScoredStep]) -> list[tuple[ScoredStep, TimedStep, float]]:
    """Runs that are predicted, each once whatever its meters."""
    seen: dict[tuple[object, ...], tuple[ScoredStep, TimedStep, float]] = {}
    for row in rows:
        if row.step is not None and row.error is not None:
            seen.setdefault(row.step.run, (row, row.step, row.error))
    return list(seen.values())


def _by_source(rows: Sequence[ScoredStep]) -> Table:
    steps = _steps(rows)
    overall = median_of_sources([missed_step(step) for _, step, _ in steps]) if steps else None
    scaled = track_record("calibrated")
    said = f": {format_fraction(overall)} off, the median of sources" if overall is not None else ""
    after = f"; after one measured step of the same job's kind {format_fraction(scaled.median_error)}" if scaled and scaled.rows else ""
    return Table(
        title=f"Steps of fine-tuning{said} over {format_int(len(steps))} measured runs",
        conditions=[
            f"every source is predicted by constants of fine-tuning fitted without it; those of pre-training saw none of them{after}",
            "a run is one row here whatever its meters; rows whose lengths vary are of the mean length that their rates imply",
        ],
        columns=[Column(key="group", header="source"), *_SCORE],
        rows=_grouped(steps, lambda step: step.source),
        facts={"tuning": {"rows": len(steps), "median_of_sources": overall, "median_after_one_step": scaled and scaled.median_error}},
        key="tuning_steps",
    )


def _by_kind(rows: Sequence[ScoredStep]) -> Table:
    return Table(
        title="Steps of fine-tuning by method",
        columns=[Column(key="group", header="method"), *_SCORE],
        rows=_grouped(_steps(rows), lambda step: step.kind),
        key="tuning_methods",
    )


def _left_out(rows: Sequence[ScoredStep]) -> Table:
    reasons = Counter(row.skipped for row in rows if row.skipped)
    return Table(
        title=f"{format_int(sum(reasons.values()))} rows of fine-tunings have no step that is predicted",
        columns=[Column(key="reason", header="because"), Column(key="rows", header="rows", format=format_int, align="right")],
        rows=[{"reason": reason, "rows": number} for reason, number in reasons.most_common()],
        key="tuning_left_out",
    )


_SCORE = [
    Column(key="rows", header="runs", format=format_int, align="right"),
    Column(key="median_error", header="median |error|", format=format_fraction, align="right"),
    Column(key="bias", header="bias", format=format_signed_fraction, align="right"),
    Column(key="coverage", header="interval held", format=format_fraction, align="right"),
]


def _grouped(steps: Sequence[tuple[ScoredStep, TimedStep, float]], name: Callable[[TimedStep], str]) -> list[dict[str, Value]]:
    groups: dict[str, list[tuple[ScoredStep, float]]] = {}
    for row, step, error in steps:
        groups.setdefault(name(step), []).append((row, error))
    return [
        {
            "group": group,
            "rows": len(found),
            "median_error": median([abs(error) for _, error in found]),
            "bias": median([error for _, error in found]),
            "coverage": sum(row.held for row, _ in found) / len(found),
        }
        for group, found in sorted(groups.items())
    ]
