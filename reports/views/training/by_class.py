"""Left-out rows by class of case: how honest the interval is and how narrow, beside a predictor that anybody could write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from estimators.training.interval import CLASSES
from estimators.units import format_fraction, format_int
from estimators.validation.left_out import class_scores, missed
from estimators.validation.naive import missed_naively
from estimators.validation.score import Scored
from reports.table import Column, Table, Value


def class_table(rows: Sequence[Scored]) -> Table:
    """By class of case: errors, how often the interval held, its width and what both come to, against the naive predictor."""
    scores, naive = class_scores(missed(rows)), class_scores(missed_naively(rows))
    lines: list[dict[str, Value]] = []
    for name, text in CLASSES.items():
        if name in scores:
            other = naive.get(name)
            lines.append(
                {
                    "class": name,
                    "group": text,
                    **asdict(scores[name]),
                    **{f"naive_{key}": value for key, value in (asdict(other) if other else {}).items()},
                }
            )
    return Table(
        title="By class of case: the interval, against a naive predictor",
        conditions=[
            "held blind: with ends that had not seen the row's source either; width: upper over lower end",
            "interval score: width and ten times what lies outside, as logarithms, in the mean; less is better",
            "naive: one utilization per device, precision and kind of model, the median of other sources; with its own left-out quantiles",
        ],
        columns=[
            Column(key="class", header="class", raw=True),
            Column(key="group", header="class"),
            _column("rows", "rows", format_int),
            _column("sources", "sources", format_int),
            _column("median", "median |error|", format_fraction),
            _column("p90", "90th percentile", format_fraction),
            _column("coverage", "interval held", format_fraction),
            _column("blind_coverage", "held blind", format_fraction),
            _column("width", "width", _times),
            _column("interval_score", "interval score", _plain),
            _column("naive_median", "naive: median", format_fraction),
            _column("naive_coverage", "held", format_fraction),
            _column("naive_width", "width", _times),
            _column("naive_interval_score", "interval score", _plain),
        ],
        rows=lines,
        key="classes",
        kind="derived",
    )


def _column(key: str, header: str, form: Callable[[Any], str]) -> Column:
    return Column(key=key, header=header, format=form, align="right")


def _times(value: float) -> str:
    return f"{value:.2f} x"


def _plain(value: float) -> str:
    return f"{value:.2f}"
