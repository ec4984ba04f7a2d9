"""How right predictions are, on one screen: the error and how often the interval held, then the kinds of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estimators.units import format_fraction, format_int, plural
from reports.screen import Screen, columns_kept
from reports.table import Table


def accuracy_screen(tables: Sequence[Table], asked: Sequence[Table] = ()) -> Screen:
    """Predicted against measured.

    Args:
        tables: all of it, the score first where a step was read.
        asked: the rows, where every one was asked for.
    """
    first = tables[0]
    summary = first.facts.get("summary")
    if summary is None:
        return Screen(answer=first.title, lead=first.conditions[:2], table=_columns(first), notes=first.notes[:3], asked=asked)
    left_out = [f"{table.title}: -v" for table in tables if table.key == "left_out"]
    memory = [f"{table.title}." for table in tables if table.key in ("memory", "tuning_steps", "fit_memory", "fit_verdicts")]
    return Screen(
        answer=_answer(summary),
        lead=first.conditions[:1],
        table=columns_kept(first, "group", "median_error", "rows", "coverage", "p90_error", "bias"),
        notes=[*first.notes[:1], *memory, *left_out],
        more=["--each (every row)", "--constants", "--plot FILE"],
        asked=asked,
        failed=summary["scored"] == 0 and not any(row.get("rows") for row in first.rows),
    )


def fit_accuracy_screen(tables: Sequence[Table], asked: Sequence[Table] = ()) -> Screen:
    """How right `fit` is: allocated memory by source, and verdicts; below them loss kernels and steps of reinforcement learning."""
    first = tables[0]
    verdicts = [table for table in tables if table.key == "fit_verdicts"]
    beside = [f"{table.title}." for table in tables[1:] if table.key in ("fit_kernels", "fit_rollouts")]
    if not verdicts:
        return Screen(
            answer=f"{first.title}.", lead=first.conditions, table=_columns(first), notes=[*first.notes[:3], *beside], asked=asked
        )
    return Screen(
        answer=f"{first.title}. {verdicts[0].title}.",
        table=columns_kept(first, "group", "median_error", "rows", "p90_error", "coverage", "unnamed_median_error", "bias"),
        notes=[*first.conditions, *verdicts[0].conditions, *beside],
        more=["--each (every row)", "--rows FILE (your own)"],
        asked=asked,
        failed=not first.rows and not verdicts[0].facts["fit_verdicts"]["rows"],
    )


def _answer(summary: Mapping[str, Any]) -> str:
    if summary["median_error"] is None:
        return "No measured step of pre-training was scored"
    scored, sources = format_int(summary["scored"]), summary["sources"]
    return (
        f"Predicted step times are off by {format_fraction(summary['median_error'])} (median) over {scored} measured steps "
        f"of {plural(sources, 'source')}"
    )


def _columns(table: Table) -> Table:
    return columns_kept(table, *(column.key for column in table.shown))
