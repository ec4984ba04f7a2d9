"""The pictures of a fine-tuning: what fills a device at the moment that decides, moment by moment, and what would win memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.units import format_bytes, format_int, format_signed_fraction
from reports.drawing import COLOURS, GREY, INK, LINES, MARKS, PAPER, from_zero, logarithmic, named
from reports.pages.picture import Picture
from reports.pages.stack import Bar, draw_stack
from reports.table import Table

RESERVE = "reserve"
VERDICTS = {"FITS": (COLOURS[2], ""), "TIGHT": (COLOURS[4], "////"), "NO": (GREY, "xxxx")}
"""Verdict -> colour and hatch of a change that leads to it."""

SHORTEST = 0.005
"""Least share of time that is worth a word beside a bar."""


def tuning_pictures(tables: Sequence[Table]) -> list[Picture]:
    """Of an answer's memory, its moments and its fixes, those that it has."""
    by_key = {table.key: table for table in tables}
    parts, moments, fixes = (by_key.get(key) for key in ("parts", "moments", "fixes"))
    pictures = []
    if parts is not None:
        title = f"What fills the fullest device at the moment that decides: {parts.facts['decides']}"
        pictures.append(Picture(title=title, table="parts", draw=draw_parts, better="fits", height_in=3.0))
    if moments is not None:
        title = "Memory of the fullest device over a step, moment by moment"
        pictures.append(Picture(title=title, table="moments", draw=draw_moments, better="fits", height_in=4.2))
    if fixes is not None:
        title = "What one change wins, and what a sample then takes longer"
        height = 1.9 + 0.25 * len(fixes.rows)
        pictures.append(Picture(title=title, table="fixes", draw=draw_fixes, better="right", height_in=height))
    return pictures


def menu_pictures(table: Table) -> list[Picture]:
    """Of what a device can do: the longest sample of each model by method; none where it can do nothing."""
    height = 1.8 + 0.25 * len(table.rows)
    return [Picture(title=table.title, table="menu", draw=draw_menu, better="right", height_in=height)] if table.rows else []


def draw_menu(figure: Any, table: Table) -> None:
    """A line for each model, and on it a mark for each method that has room for a sample."""
    axes = figure.add_subplot()
    rows: list[Any] = list(table.rows)
    methods = [column for column in table.columns if column.key.endswith("_tokens")]
    for at, column in enumerate(methods):
        points = [(row[column.key], place + ROOM * (at / (len(methods) - 1) - 0.5)) for place, row in enumerate(rows) if row[column.key]]
        if points:
            look = {"linestyle": "none", "markersize": 5, "label": column.header}
            axes.plot(*zip(*points, strict=True), color=COLOURS[at], marker=MARKS[at], **look)
    named(axes, [str(row["model"]) for row in rows])
    lengths = [row[column.key] for row in rows for column in methods if row[column.key]]
    logarithmic(axes, "x", "tokens of the longest sample", lengths, lambda number: format_int(round(number)))
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=4)


ROOM = 0.6
"""Of the height of a line, what the marks of its methods stand apart, as several may have room for the same sample."""


def draw_parts(figure: Any, table: Table) -> None:
    """One bar: what is allocated, the reserve beside it, and the interval of the first."""
    facts = table.facts
    parts = [(str(row["part"]), float(row["bytes"])) for row in table.rows if row["part"] != "allocated"]  # type: ignore[arg-type]
    spread = ("allocated", facts["allocated_low_bytes"], facts["allocated_high_bytes"])
    bar = Bar(name="", parts=[*parts, (RESERVE, facts["reserve_bytes"])], limit=facts["device_memory_bytes"], spread=spread)
    draw_stack(figure, [bar], format_bytes)


def draw_moments(figure: Any, table: Table) -> None:
    """A bar for each moment, from top to bottom as a step has them."""
    moments: dict[str, list[tuple[str, float]]] = {}
    for row in table.rows:
        moments.setdefault(str(row["moment"]), []).append((str(row["part"]), float(row["bytes"])))  # type: ignore[arg-type]
    limit = table.facts["device_memory_bytes"]
    draw_stack(figure, [Bar(name=name, parts=parts, limit=limit) for name, parts in moments.items()], format_bytes)


def draw_fixes(figure: Any, table: Table) -> None:
    """A bar for each change, and where enough is won."""
    axes = figure.add_subplot()
    rows: list[Any] = list(table.rows)
    said: set[str] = set()
    for place, row in enumerate(rows):
        colour, hatch = VERDICTS[row["verdict"]]
        label = None if row["verdict"] in said else f"then {row['verdict']}"
        axes.barh([place], [row["won_bytes"]], height=0.6, color=colour, hatch=hatch, label=label)
        said.add(row["verdict"])
        slower = row["slower_fraction"]
        if slower is not None:
            words = format_signed_fraction(slower) if abs(slower) >= SHORTEST else "as before"
            at = (row["won_bytes"], place)
            ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
            axes.annotate(words, at, textcoords="offset points", xytext=(4, 0), va="center", fontsize="small", bbox=ground)
    lacking = table.facts["lacking_bytes"]
    if lacking:
        label = f"too much, with a reserve: {format_bytes(lacking)}"
        axes.axvline(lacking, color=INK, linestyle=LINES[1], linewidth=1.4, label=label)
    named(axes, [str(row["what"]) for row in rows])
    axes.set_xlim(0, 1.25 * max(lacking, *(row["won_bytes"] for row in rows)))
    from_zero(axes, "x", "memory won; beside it: time of a sample", format_bytes, unit=2**30)
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
