"""Steps of fine-tuning against what is predicted of them: by source, each left out of the fit, by method, and after one measured step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators.tuning.interval import track_record
from estimators.units import format_fraction, format_int, format_signed_fraction
from estimators.validation.score import Score, Scored
from estimators.validation.tuning_record import median_of_sources
from estimators.validation.tuning_score import TunedRun, score_by, tuned_runs
from estimators.validation.tuning_time import ScoredStep
from reports.table import Column, Table, Value
from reports.views.left_out import left_out_table


def tuning_tables(steps: Sequence[ScoredStep], rows: Sequence[Scored] = ()) -> list[Table]:
    """By source, by method and format, and why rows are left out.

    Args:
        rows: of tables of trainings, among which are fine-tunings.
    """
    runs = tuned_runs(steps, rows)
    return [
        _by_source(runs),
        _by_kind(runs),
        left_out_table((row.skipped for row in steps), "rows of fine-tunings have no step that is predicted", key="tuning_left_out"),
    ]


def _by_source(runs: Sequence[TunedRun]) -> Table:
    overall, scaled = median_of_sources(runs) if runs else None, track_record("calibrated")
    said = f": {format_fraction(overall)} off, the median of sources" if overall is not None else ""
    after = f"; after one measured step of the same job's kind {format_fraction(scaled.median_error)}" if scaled and scaled.rows else ""
    return Table(
        title=f"Steps of fine-tuning{said} over {format_int(len(runs))} measured runs",
        conditions=[
            f"every source is predicted by constants of fine-tuning fitted without it; those of pre-training saw none of them{after}",
            "a run is one row here whatever its meters; rows whose lengths vary are of the mean length that their rates imply",
        ],
        columns=[Column(key="group", header="source"), *_SCORE],
        rows=_rows(score_by(runs, lambda run: run.source)),
        facts={"tuning": {"rows": len(runs), "median_of_sources": overall, "median_after_one_step": scaled and scaled.median_error}},
        key="tuning_steps",
    )


def _by_kind(runs: Sequence[TunedRun]) -> Table:
    return Table(
        title="Steps of fine-tuning by method",
        columns=[Column(key="group", header="method"), *_SCORE],
        rows=_rows(score_by(runs, lambda run: run.kind)),
        key="tuning_methods",
    )


_SCORE = [
    Column(key="rows", header="runs", format=format_int, align="right"),
    Column(key="median_error", header="median |error|", format=format_fraction, align="right"),
    Column(key="p90_error", header="90th percentile", format=format_fraction, align="right"),
    Column(key="bias", header="bias", format=format_signed_fraction, align="right"),
    Column(key="coverage", header="interval held", format=format_fraction, align="right"),
]


def _rows(scores: Mapping[str, Score]) -> list[dict[str, Value]]:
    return [
        {
            "group": group,
            "rows": found.rows,
            "median_error": found.median,
            "p90_error": found.p90,
            "bias": found.bias,
            "coverage": found.coverage,
        }
        for group, found in scores.items()
    ]
