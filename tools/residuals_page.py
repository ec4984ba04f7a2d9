"""Published throughput recomputed: our figure beside the source's own, by tool, and in docs/residuals.csv by source and model.

python -m tools.residuals_page
python -m tools.residuals_page --models
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from estimators.facts.published_runs import median
from estimators.facts.published_throughput import PublishedThroughput, Residual, read_throughput, residuals
from estimators.facts.tool_conventions import tools
from estimators.units import format_signed_fraction
from reports.render import render
from reports.table import Column, Table, Value

QUANTITIES = {"mfu": "MFU", "hfu": "HFU", "flop_per_s": "FLOP/s of one device"}


def _points(fraction: float) -> str:
    return f"{100 * fraction:.3f}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3f} %"


def _worst(group: Sequence[Residual], size: Callable[[Residual], float]) -> float:
    return max(abs(size(residual)) for residual in group)


def _summary(group: Sequence[Residual]) -> dict[str, Value]:
    """Of residuals of one quantity."""
    in_points = group[0].points is not None
    return {
        "num_rows": len(group),
        "worst_points": _worst(group, lambda residual: residual.points or 0.0) if in_points else None,
        "worst_fraction": _worst(group, lambda residual: residual.relative),
        "median_fraction": median(sorted(abs(residual.relative) for residual in group)),
    }


_FIGURES = [
    Column(key="num_rows", header="rows", align="right"),
    Column(key="worst_points", header="worst, points of MFU", format=_points, align="right"),
    Column(key="worst_fraction", header="worst", format=_percent, align="right"),
    Column(key="median_fraction", header="median", format=_percent, align="right"),
]


def tools_table(all_residuals: Sequence[Residual]) -> Table:
    """One line per tool and quantity: how far our count is from the figures that the tool printed."""
    groups: dict[tuple[str, str], list[Residual]] = {}
    for residual in all_residuals:
        groups.setdefault((residual.row.tool, residual.quantity), []).append(residual)
    return Table(
        title=f"Residuals by tool: {len(all_residuals)} published figures recomputed from tokens and time",
        columns=[
            Column(key="tool", header="tool"),
            Column(key="quantity", header="figure"),
            Column(key="counts", header="counts"),
            *_FIGURES,
        ],
        rows=[
            {"tool": tools()[tool].name, "quantity": QUANTITIES[quantity], "counts": tools()[tool].includes, **_summary(group)}
            for (tool, quantity), group in groups.items()
        ],
        notes=[
            "Ours over theirs, less one. What is left is rounding: of throughputs, days and rates to the digits printed.",
            "By source and model: [residuals.csv](residuals.csv), with the largest of each (`signed_fraction`).",
        ],
        key="tools",
    )


def models_table(all_residuals: Sequence[Residual]) -> Table:
    """One line per source and model, with the signed residual that is largest; HFU moves with MFU and is left out."""
    groups: dict[tuple[str, str, str], list[Residual]] = {}
    for residual in all_residuals:
        if residual.quantity != "hfu":
            groups.setdefault((residual.row.source.title, residual.row.name, residual.quantity), []).append(residual)
    rows: list[dict[str, Value]] = []
    for (source, name, quantity), group in groups.items():
        largest = max(group, key=lambda residual: abs(residual.relative))
        rows.append(
            {"source": source, "model": name, "quantity": QUANTITIES[quantity], "signed_fraction": largest.relative, **_summary(group)}
        )
    return Table(
        title="Residuals by source and model",
        columns=[
            Column(key="source", header="source", once=True),
            Column(key="model", header="model"),
            Column(key="quantity", header="figure"),
            Column(key="num_rows", header="rows", align="right"),
            Column(key="signed_fraction", header="largest", format=format_signed_fraction, align="right"),
            Column(key="worst_points", header="points of MFU", format=_points, align="right"),
        ],
        rows=rows,
        key="models",
    )


def faults_table(rows: Sequence[PublishedThroughput]) -> Table:
    """Rows that contradict themselves, by name: they prove nothing, and are in no other table."""
    by_reason: dict[str, list[PublishedThroughput]] = {}
    for row in rows:
        by_reason.setdefault(row.fault, []).append(row)
    return Table(
        title=f"Left out: {len(rows)} rows that contradict themselves or were completed by fitting",
        columns=[
            Column(key="reason", header="reason", once=True),
            Column(key="model", header="model"),
            Column(key="num_devices", header="devices", align="right"),
            Column(key="residual_fraction", header="residual", format=format_signed_fraction, align="right"),
            Column(key="source", header="source"),
        ],
        rows=[
            {
                "reason": reason,
                "model": row.name,
                "num_devices": row.num_devices,
                "residual_fraction": residuals(row)[0].relative,
                "source": row.source.title,
            }
            for reason, group in by_reason.items()
            for row in group
        ],
        key="faults",
    )


def tables() -> list[Table]:
    """The tables of the page: by tool, and what was left out."""
    rows = read_throughput()
    return [tools_table(_sound(rows)), faults_table([row for row in rows if row.fault])]


def _sound(rows: Sequence[PublishedThroughput]) -> list[Residual]:
    return [residual for row in rows if not row.fault for residual in residuals(row)]


def main(argv: Sequence[str]) -> int:
    """Print the tables of the page, or with --models the rows of docs/residuals.csv."""
    if argv == ["--models"]:
        print(render([models_table(_sound(read_throughput()))], "csv"))
    else:
        print(render(tables(), "md"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
