"""The pictures of what ran: waterfall, samples, roofline, memory; of several runs their shares and how they were predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estimators.units import format_bytes, format_duration, format_flop_rate, format_fraction, format_grouped, format_int
from reports.drawing import COLOURS, FAINT, GREY, HATCHES, INK, LINES, MARKS, from_zero, logarithmic, named
from reports.pages.picture import Picture
from reports.pages.stack import Bar, draw_stack
from reports.table import Table

Row = Mapping[str, Any]
MOST_NAMED = 20
"""Rows that are named; those beyond are left to the table."""

MOST_MARKED = 400
"""Samples that have a mark of their own; more are a line."""

MATCHED = {"measured": (COLOURS[1], COLOURS[1]), "estimated": (COLOURS[0], "none")}
"""Kind of a figure -> colour of its mark, and what fills it: measured dots, estimated rings."""


def running_pictures(tables: Sequence[Table]) -> list[Picture]:
    """A picture of each table that has one to be drawn, in the order in which a page has them."""
    by_key = {table.key: table for table in tables if table.rows}
    return [picture for key, pictures in PICTURES.items() if key in by_key for picture in pictures(by_key[key])]


def _height(rows: int) -> float:
    return 1.7 + 0.23 * min(rows, MOST_NAMED)


def _waterfall(table: Table) -> list[Picture]:
    if "reached_s" not in {column.key for column in table.columns}:  # a server's, which has its own form
        return []
    height = _height(len(table.rows))
    return [Picture(title=table.title + ", part by part", table="waterfall", draw=draw_waterfall, better="left", height_in=height)]


def _samples(table: Table) -> list[Picture]:
    title = f"Every sample in order ({table.facts['phase']}), the warm-up shaded"
    return [Picture(title=title, table="samples", draw=draw_samples, better="lower")] if len(table.rows) > 1 else []


def _roofline(table: Table) -> list[Picture]:
    title = "What each class of operator reaches, under the device's roof"
    return [Picture(title=title, table="roofline", draw=draw_roofline, better="higher", height_in=4.2)]


def _memory(table: Table) -> list[Picture]:
    title = "Memory: what arithmetic asks for, and the peaks that were read"
    moments = {row["moment"] for row in table.rows}
    return [Picture(title=title, table="step_memory", draw=draw_memory, better="fits", height_in=2.6 + 0.3 * len(moments))]


def _journey(table: Table) -> list[Picture]:
    rows = _with(table, "matmul_ceiling_fraction")
    title = "Share of the matmul rate measured just before, by run"
    return [Picture(title=title, table="journey", draw=draw_shares, better="right", height_in=_height(len(rows)))] if len(rows) > 1 else []


def _check(table: Table) -> list[Picture]:
    rows = [row for row in table.rows if row.get("measured_s") and row.get("predicted_s")]
    title = "Steps predicted before they ran, and measured"
    return (
        [Picture(title=title, table="check", draw=draw_check, better="match", height_in=_height(len(rows)) + 0.3)] if len(rows) > 1 else []
    )


PICTURES: dict[str, Callable[[Table], list[Picture]]] = {
    "waterfall": _waterfall,
    "samples": _samples,
    "roofline": _roofline,
    "step_memory": _memory,
    "journey": _journey,
    "check": _check,
}
"""Key of a table -> its pictures."""


def _with(table: Table, key: str) -> list[Row]:
    return [row for row in table.rows if row.get(key) is not None]


def draw_waterfall(figure: Any, table: Table) -> None:
    """A bar for each part from where the one before ends, and one for the whole step; what is not known has its word."""
    axes = figure.add_subplot()
    rows: list[Row] = list(table.rows)
    said: set[str] = set()
    for place, row in enumerate(rows):
        if row["seconds_s"] is None:
            axes.annotate("not known", (0, place), textcoords="offset points", xytext=(4, 0), va="center", fontsize="small")
            continue
        whole = place == len(rows) - 1
        what = "the step" if whole else "what physics asks for" if place == 0 else "takes away" if row["seconds_s"] < 0 else "on top of it"
        colour, hatch = {"the step": (GREY, ""), "what physics asks for": (COLOURS[2], ""), "on top of it": (COLOURS[1], "////")}.get(
            what, (COLOURS[0], "xxxx")
        )
        begun = 0.0 if whole else row["reached_s"] - row["seconds_s"]
        label = None if what in said or not row["seconds_s"] else what
        axes.barh([place], [row["seconds_s"]], left=begun, height=0.6, color=colour, hatch=hatch, label=label)
        said |= {what} if row["seconds_s"] else set()
        right = max(begun, row["reached_s"])
        words = f"{format_fraction(row['share_fraction'])}"
        axes.annotate(words, (right, place), textcoords="offset points", xytext=(4, 0), va="center", fontsize="small")
    named(axes, [str(row["part"]) for row in rows])
    axes.set_xlim(0, 1.2 * max(max(row["reached_s"], row["reached_s"] - (row["seconds_s"] or 0.0)) for row in rows if "reached_s" in row))
    from_zero(axes, "x", "time of a step; beside the bars: share of it", _duration, most=5)
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def _duration(seconds: float) -> str:
    return format_duration(seconds)


def draw_samples(figure: Any, table: Table) -> None:
    """A point for each sample, or a line through very many; the warm-up on shaded ground, and the typical one."""
    axes = figure.add_subplot()
    rows: list[Row] = list(table.rows)
    warmup, typical = table.facts["num_warmup"], table.facts["typical_s"]
    if warmup:
        axes.axvspan(0, warmup, color=FAINT, label=f"warm-up: {format_int(warmup)}")
    numbers, seconds = [row["number"] for row in rows], [row["seconds_s"] for row in rows]
    look = {"marker": MARKS[0], "markersize": 3.5, "linestyle": LINES[3]} if len(rows) <= MOST_MARKED else {"linestyle": LINES[0]}
    axes.plot(numbers, seconds, color=COLOURS[0], linewidth=0.6, label="a sample", **look)
    if typical is not None:
        axes.axhline(typical, color=INK, linestyle=LINES[1], linewidth=1, label=f"typical: {format_duration(typical)}")
    axes.set(xlim=(0, 1.02 * max(numbers)), ylim=(0, 1.1 * max(seconds)))
    from_zero(axes, "x", "sample", lambda number: format_int(round(number)))
    from_zero(axes, "y", "time", _duration)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3)


def draw_roofline(figure: Any, table: Table) -> None:
    """Roofs as lines, classes as points: dots where their time was measured, rings where it was estimated."""
    axes = figure.add_subplot()
    rows: list[Row] = list(table.rows)
    roofs = table.facts["roofs"]
    for at, (name, corners) in enumerate(roofs.items()):
        across, up = zip(*corners, strict=True)
        axes.plot(across, up, color=INK if at == 0 else GREY, linestyle=LINES[at], linewidth=1.4, label=f"{name} roof")
    for place, row in enumerate(rows):
        colour, inside = COLOURS[place], COLOURS[place] if row["tag"] != "estimated" else "none"
        label = f"{row['class']}, {row['tag']}"
        look = {"marker": MARKS[place], "markerfacecolor": inside, "markersize": 8, "linestyle": "none"}
        axes.plot([row["flop_per_byte"]], [row["flop_per_s"]], color=colour, label=label, **look)
    corners = [corner for found in roofs.values() for corner in found]
    points = [(row["flop_per_byte"], row["flop_per_s"]) for row in rows]
    logarithmic(axes, "x", "FLOP per byte", [x for x, _ in (*corners, *points)], format_grouped)
    logarithmic(axes, "y", "FLOP/s", [y for _, y in (*corners, *points)], format_flop_rate)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def draw_memory(figure: Any, table: Table) -> None:
    """A bar for each moment and each instrument, against what the device holds."""
    moments: dict[str, list[tuple[str, float]]] = {}
    for row in table.rows:
        moments.setdefault(str(row["moment"]), []).append((str(row["part"]), float(row["bytes"])))  # type: ignore[arg-type]
    limit = table.facts["device_memory_bytes"]
    draw_stack(figure, [Bar(name=name, parts=parts, limit=limit) for name, parts in moments.items()], format_bytes)


def draw_shares(figure: Any, table: Table) -> None:
    """A bar for each run that has a share."""
    axes = figure.add_subplot()
    rows = _with(table, "matmul_ceiling_fraction")[:MOST_NAMED]
    for place, row in enumerate(rows):
        axes.barh([place], [row["matmul_ceiling_fraction"]], height=0.6, color=COLOURS[0], hatch=HATCHES[0])
    named(axes, [f"{row['model']}: {row['what']}" for row in rows])
    axes.set_xlim(0, 1.05 * max(row["matmul_ceiling_fraction"] for row in rows))
    from_zero(axes, "x", "share of the matmul ceiling", format_fraction)
    axes.grid(visible=True, axis="x")


def draw_check(figure: Any, table: Table) -> None:
    """Two marks for each step: a ring that was predicted, a dot that was measured."""
    axes = figure.add_subplot()
    rows: list[Row] = [row for row in table.rows if row.get("measured_s") and row.get("predicted_s")][:MOST_NAMED]
    for place, row in enumerate(rows):
        axes.plot([row["predicted_s"], row["measured_s"]], [place, place], color=GREY, linewidth=1.2)
        for key, name, kind in (("predicted_s", "predicted", "estimated"), ("measured_s", "measured", "measured")):
            colour, inside = MATCHED[kind]
            mark = {"marker": MARKS[0] if kind == "measured" else MARKS[1], "markerfacecolor": inside, "linestyle": "none"}
            axes.plot([row[key]], [place], color=colour, label=None if place else name, **mark)
    named(axes, [str(row["workload"]) for row in rows])
    logarithmic(axes, "x", "time of a step", [row[key] for row in rows for key in ("predicted_s", "measured_s")], _duration)
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
