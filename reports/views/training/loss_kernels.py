"""Loss kernels against the laws that `fit` makes logits by: how far what grows with the shape is off, by kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from estimators.units import format_fraction, format_int
from estimators.validation.loss_kernels import SMALLEST, ScoredKernel
from reports.table import Column, Table, Value


def kernels_table(rows: Sequence[ScoredKernel]) -> Table:
    """By kernel and provider; peaks themselves where what a benchmark holds beside the kernel is known."""
    errors = [abs(row.error) for row in rows if row.error is not None]
    names = list(dict.fromkeys(row.name for row in rows if row.group))
    lines: list[dict[str, Value]] = [_line(name, [row for row in rows if row.name == name]) for name in names]
    said = f": what grows is off by {format_fraction(max(errors))} at most" if errors else ""
    reasons = Counter(row.skipped for row in rows if row.skipped and row.skipped != SMALLEST)
    return Table(
        title=f"Loss kernels{said} over {format_int(len(errors))} peaks",
        conditions=[
            "bytes of a peak above that of the smallest shape of its kind, both ways, by the law that a job's logits are made by",
            "the peak itself where it is known what the benchmark holds beside the kernel; nothing is fitted",
        ],
        columns=[
            Column(key="group", header="kernel, by"),
            Column(key="rows", header="rows", format=format_int, align="right"),
            Column(key="worst_error", header="worst |error|", format=format_fraction, align="right"),
            Column(key="peak_error", header="of the peak", format=format_fraction, align="right"),
        ],
        rows=lines,
        notes=[f"{format_int(number)} x {reason}" for reason, number in reasons.most_common()],
        facts={"fit_kernels": {"rows": len(errors), "worst_error": max(errors, default=None)}},
        key="fit_kernels",
    )


def _line(name: str, rows: Sequence[ScoredKernel]) -> dict[str, Value]:
    errors = [abs(row.error) for row in rows if row.error is not None]
    peaks = [abs(row.peak_error) for row in rows if row.peak_error is not None]
    return {"group": name, "rows": len(errors), "worst_error": max(errors, default=None), "peak_error": max(peaks, default=None)}
