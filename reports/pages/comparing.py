"""The pictures of a comparison: both distributions with the noise floor, and every row's ratio with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from estimators.units import format_count, format_fraction, format_ratio
from reports.drawing import COLOURS, FAINT, GREY, INK, LINES, MARKS, from_zero, logarithmic, named
from reports.pages.picture import Picture
from reports.table import Table

Row = Mapping[str, Any]

MOST_NAMED = 20
MOST_MARKED = 200
"""Samples of a side that have a mark of their own; more are a line."""

SIDES = {"A": 0, "B": 1}
VERDICTS = {"FASTER": (COLOURS[2], "v"), "SLOWER": (COLOURS[1], "^"), "SAME": (COLOURS[0], "o"), "AMBIGUOUS": (GREY, "D")}
"""Verdict -> colour and mark."""

WIDE = 4.0
"""From this ratio on an axis is marked as any logarithmic one."""

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Distances between the marks of an axis of ratios."""


def comparing_pictures(tables: Sequence[Table]) -> list[Picture]:
    """What there is to draw of a comparison's tables."""
    by_key = {table.key: table for table in tables if table.rows}
    pictures = []
    if (table := by_key.get("distributions")) is not None:
        title = f"Both sides, sample by sample: {table.facts['phase']} of {table.facts['case']}"
        pictures.append(Picture(title=title, table="distributions", draw=draw_distributions, better="left"))
    if (table := by_key.get("ratios")) is not None:
        title = "B over A, with its interval, and what counts as a difference"
        height = 2.0 + 0.24 * min(len(table.rows), MOST_NAMED)
        pictures.append(Picture(title=title, table="ratios", draw=draw_ratios, better="left", height_in=height))
    return pictures


def _ratio_axis(axes: Any, label: str, values: Sequence[float]) -> None:
    """A logarithmic axis of ratios, drawn close around its values, with marks at round ones."""
    low, high = min(values), max(values)
    if high > WIDE * low:
        logarithmic(axes, "x", label, values, format_count)
        return
    step = next((step for step in STEPS if (high - low) / step <= 7), 1.0)
    ticks = [round(number * step, 3) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    logarithmic(axes, "x", label, values, lambda ratio: format_ratio(ratio), ticks=ticks if len(ticks) > 1 else (low, high), margin=1.01)


def _draw_bands(axes: Any, facts: Mapping[str, Any]) -> list[float]:
    """The noise floor on shaded ground, the threshold as two lines; where they end."""
    ends = [facts["threshold_low"], facts["threshold_high"]]
    if facts["noise_low"] is not None:
        label = f"noise floor: {format_fraction(facts['noise_floor_fraction'], 2)}"
        axes.axvspan(facts["noise_low"], facts["noise_high"], color=FAINT, label=label)
        if facts["noise_high"] < WIDE:  # a wider one ends beyond the picture, which the samples fill
            ends += [facts["noise_low"], facts["noise_high"]]
    for at, end in enumerate(ends[:2]):
        said = None if at else f"from {format_fraction(facts['threshold_fraction'])} a difference counts"
        axes.axvline(end, color=GREY, linestyle=LINES[3], linewidth=1.2, label=said)
    return ends


def draw_distributions(figure: Any, table: Table) -> None:
    """For each side, the share of its samples that is no longer than a time; and its typical one."""
    axes = figure.add_subplot()
    facts = table.facts
    ends = _draw_bands(axes, facts)
    for side, at in SIDES.items():
        rows: list[Row] = [row for row in table.rows if row["side"] == side]
        across, shares = [row["of_a"] for row in rows], [row["not_longer_fraction"] for row in rows]
        marked = {"marker": MARKS[at], "markersize": 4} if len(rows) <= MOST_MARKED else {}
        axes.plot(across, shares, color=COLOURS[at], linestyle=LINES[at], drawstyle="steps-post", linewidth=1.2, label=side, **marked)
        typical = facts["typical_a"] if side == "A" else facts["ratio"]
        axes.axvline(typical, color=COLOURS[at], linestyle=LINES[at], linewidth=1)
        ends.append(typical)
    times = [float(row["of_a"]) for row in table.rows]  # type: ignore[arg-type]
    _ratio_axis(axes, "time, A's typical one being 1", [*times, *ends])
    axes.set_ylim(0, 1)
    from_zero(axes, "y", "share of samples no longer", format_fraction, most=5)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def draw_ratios(figure: Any, table: Table) -> None:
    """A mark for each row on the line of its interval; without an interval the mark alone, hollow."""
    axes = figure.add_subplot()
    rows: list[Row] = list(table.rows[:MOST_NAMED])
    ends = _draw_bands(axes, table.facts)
    axes.axvline(table.facts["even"], color=INK, linewidth=1)
    said: set[str] = set()
    for place, row in enumerate(rows):
        colour, mark = VERDICTS.get(row["verdict"], (GREY, "X"))
        span = [row["ratio_low"], row["ratio_high"]]
        if None not in span:
            axes.plot(span, [place, place], color=colour, linewidth=2.2, marker="|", markersize=8)
            ends += span
        inside = "none" if None in span else colour
        label = None if row["verdict"] in said else str(row["verdict"])
        axes.plot([row["ratio"]], [place], color=colour, marker=mark, markerfacecolor=inside, linestyle="none", label=label)
        said.add(row["verdict"])
    named(axes, [str(row["name"]) for row in rows])
    _ratio_axis(axes, "B over A", [*(row["ratio"] for row in rows), *ends])
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
