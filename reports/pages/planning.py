"""The pictures of a planned training: days against devices, money against days, memory by part, what moves it, published runs like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estimators.printable import cut
from estimators.units import format_bytes, format_count, format_days, format_flop, format_fraction, format_grouped, format_int, format_money
from reports.drawing import COLOURS, FAINT, GREY, INK, LINES, MARKS, from_zero, logarithmic, named
from reports.pages.picture import Picture
from reports.pages.stack import Bar, draw_stack
from reports.table import Table

Row = Mapping[str, Any]
NAME_COLUMNS = 30
"""Characters of a name beside an axis or in a legend."""


def planning_pictures(tables: Sequence[Table]) -> list[Picture]:
    """A picture of each table of an answer that has one to be drawn."""
    by_key = {table.key: table for table in tables}
    for kinds in (PICTURES, WITHOUT_STEP):
        if found := [picture for key, pictures in kinds.items() if key in by_key for picture in pictures(by_key[key])]:
            return found
    return []


def _curve(table: Table) -> list[Picture]:
    timed = [row for row in table.rows if row["run_days"] is not None]
    shown = Picture(title=table.title, table="scaling", draw=draw_days, better="lower left")
    return [shown] if len(timed) > 1 else []


def _offers(table: Table) -> list[Picture]:
    time, cost = _time_of(table), _cost_of(table)
    offers = [row for row in table.rows if row.get(time) is not None and row.get(cost) is not None]
    what = "GPU-days" if time == "gpu_days" else "days"
    height = 3.2 + 0.18 * (min(len(offers), MOST_NAMED) // 2)
    shown = Picture(
        title=f"Money against {what}, by device; grey: another is as fast and as cheap, or better",
        table=table.key,
        draw=draw_offers,
        better="lower left",
        height_in=height,
    )
    return [shown] if len(offers) > 1 else []


def _spans(table: Table) -> list[Picture]:
    if "days_low" not in {column.key for column in table.columns}:
        return []
    rows = [row for row in table.rows if row.get("wall_days") is not None]
    title = "Days by device, with their 80 % interval"
    shown = Picture(title=title, table=table.key, draw=draw_spans, better="left", height_in=_height(len(rows)))
    return [shown] if len(rows) > 1 else []


def _held(table: Table) -> list[Picture]:
    title = "What fills the fullest device, by part, and what it holds"
    return [Picture(title=title, table="held", draw=draw_held, better="fits", height_in=2.6 + 0.35 * min(len(table.rows), MOST_NAMED))]


def _steps_memory(table: Table) -> list[Picture]:
    uses = {row["use"] for row in table.rows}
    title, better = f"{table.title}, by use and part", "fits" if table.facts["device_memory_bytes"] else ""
    return [Picture(title=title, table="memory", draw=draw_steps_memory, better=better, height_in=2.4 + 0.45 * len(uses))]


def _knobs(table: Table) -> list[Picture]:
    return [Picture(title=table.title, table="knobs", draw=draw_knobs, better="left", height_in=_height(len(table.rows)))]


def _near(table: Table) -> list[Picture]:
    title = "The nearest published runs: planned, and what they took"
    return [Picture(title=title, table="near_runs", draw=draw_near, better="match", height_in=_height(len(table.rows)) + 0.4)]


def _scenarios(table: Table) -> list[Picture]:
    if not {"scenario", "utilization_fraction"} <= set(table.rows[0] if table.rows else {}) or len(table.rows) < 2:
        return []
    title = "What the shares of peak that runs reached make of it"
    return [Picture(title=title, table=table.key, draw=draw_scenarios, better="left", height_in=_height(len(table.rows)))]


def _rules(table: Table) -> list[Picture]:
    if len(table.rows) < 2:
        return []
    title = "FLOP by rule of thumb, and counted exactly under the rule's convention"
    return [Picture(title=title, table="rules", draw=draw_rules, better="match", height_in=_height(len(table.rows)) + 0.5)]


def _height(rows: int) -> float:
    return 1.6 + 0.21 * min(rows, MOST_NAMED)


PICTURES: dict[str, Callable[[Table], list[Picture]]] = {
    "scaling": _curve,
    "devices": _offers,
    "training": lambda table: [*_offers(table), *_spans(table)] if "hardware" in {column.key for column in table.columns} else [],
    "held": _held,
    "memory": _steps_memory,
    "knobs": _knobs,
    "near_runs": _near,
}
"""Key of a table -> its pictures, in the order in which a page has them."""

WITHOUT_STEP: dict[str, Callable[[Table], list[Picture]]] = {"training": _scenarios, "rules": _rules}
"""Those of an answer that has none of the others, as no step of it is predicted."""

MOST_NAMED = 20
"""Devices that are named; those beyond are left to the table."""


def draw_days(figure: Any, table: Table) -> None:
    """Both axes logarithmic: halving the days by doubling the devices is a straight line; where a doubling stops paying is said."""
    axes = figure.add_subplot()
    rows: list[Row] = [row for row in table.rows if row["run_days"] is not None]
    devices = [row["num_devices"] for row in rows]
    low, middle, high = ([row[key] for row in rows] for key in ("days_low", "run_days", "days_high"))
    axes.fill_between(devices, low, high, color=COLOURS[0], alpha=0.18, linewidth=0, label="80 % of it")
    axes.plot(devices, middle, marker=MARKS[0], color=COLOURS[0], label="time of steady steps")
    stops, deadline = table.facts["scaling_stops_at_num_devices"], table.facts["deadline_days"]
    if stops is not None and min(devices) < stops:
        axes.axvspan(stops, max(devices), color=FAINT)
        axes.axvline(stops, color=INK, linestyle=LINES[3], label=f"from {format_int(stops)} a doubling pays no more")
    if deadline is not None:
        axes.axhline(deadline, color=COLOURS[1], linestyle=LINES[1], label=f"deadline: {format_days(deadline)}")
    logarithmic(axes, "x", "GPUs", devices, lambda number: format_int(round(number)), ticks=devices)
    logarithmic(axes, "y", "time", [*low, *high, *([deadline] if deadline else [])], format_days)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def _time_of(table: Table) -> str:
    keys = {column.key for column in table.columns}
    if "run_days" in keys:
        return "run_days"
    return "wall_days" if any(row.get("wall_days") is not None for row in table.rows) and not _is_chosen(table) else "gpu_days"


def _is_chosen(table: Table) -> bool:
    """Whether each kind of device runs on as many as it needs, so that its own days say nothing of the others'."""
    return "num_devices" in table.facts and table.facts["num_devices"] is None


def _cost_of(table: Table) -> str:
    return "cost_usd" if "cost_usd" in {column.key for column in table.columns} else "cost_usd_median"


def draw_offers(figure: Any, table: Table) -> None:
    """A point for each device; those that another beats in both are grey and hollow."""
    axes = figure.add_subplot()
    time, cost = _time_of(table), _cost_of(table)
    rows: list[Row] = [row for row in table.rows if row.get(time) is not None and row.get(cost) is not None]
    rows = sorted(rows, key=lambda row: row["beaten_by"] is not None)[:MOST_NAMED]
    for place, row in enumerate(rows):
        beaten = row["beaten_by"] is not None
        mark, name = MARKS[place % len(MARKS)], cut(str(row["hardware"]), NAME_COLUMNS)
        colour = GREY if beaten else COLOURS[place % len(COLOURS)]
        size = {"markersize": 6 if beaten else 9, "markerfacecolor": "none" if beaten else colour, "linestyle": "none"}
        axes.plot([row[time]], [row[cost]], marker=mark, color=colour, label=name, **size)
    axes.set(xlim=(0, 1.1 * max(row[time] for row in rows)), ylim=(0, 1.1 * max(row[cost] for row in rows)))
    unit = "GPU-days" if time == "gpu_days" else "time"
    from_zero(axes, "x", f"{unit}, steady steps", format_grouped if time == "gpu_days" else format_days)
    from_zero(axes, "y", "cost, median quote", format_money)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def draw_spans(figure: Any, table: Table) -> None:
    """A line from the low end to the high one for each device, and a point between."""
    axes = figure.add_subplot()
    rows: list[Row] = [row for row in table.rows if row.get("wall_days") is not None][:MOST_NAMED]
    for place, row in enumerate(rows):
        axes.plot([row["days_low"], row["days_high"]], [place, place], color=COLOURS[0], linewidth=2.5, marker="|", markersize=9)
        axes.plot([row["wall_days"]], [place], color=INK, marker=MARKS[0], markersize=5)
    named(axes, [str(row["hardware"]) for row in rows])
    axes.set_xlim(0, 1.05 * max(row["days_high"] for row in rows))
    from_zero(axes, "x", "time of steady steps; the line: 80 % of it", format_days)
    axes.grid(visible=True, axis="x")


def draw_held(figure: Any, table: Table) -> None:
    """A bar for each device."""
    rows: list[Row] = list(table.rows[:MOST_NAMED])
    parts = {column.key: column.header for column in table.columns if column.key.endswith("_bytes")}
    bars = [
        Bar(name=row["hardware"], parts=[(name, row[key] or 0.0) for key, name in parts.items()], limit=row["device_memory"])
        for row in rows
    ]
    draw_stack(figure, bars, format_bytes)


def draw_steps_memory(figure: Any, table: Table) -> None:
    """A bar for each use."""
    rows: Sequence[Row] = table.rows
    bars = [
        Bar(
            name=use,
            parts=[(row["part"], row["memory_bytes"]) for row in rows if row["use"] == use and row["part"] != "total"],
            limit=table.facts["device_memory_bytes"],
        )
        for use in dict.fromkeys(row["use"] for row in rows)
    ]
    draw_stack(figure, bars, format_bytes)


def draw_knobs(figure: Any, table: Table) -> None:
    """A point for each change, on a line from the answer; hollow where it does not fit."""
    axes = figure.add_subplot()
    rows: list[Row] = list(table.rows[:MOST_NAMED])
    answer = table.facts["answer_days"]
    axes.axvline(answer, color=INK, linewidth=1, label=f"the answer: {format_days(answer)}")
    looks = {
        "shorter": (COLOURS[0], MARKS[0], COLOURS[0]),
        "longer": (COLOURS[1], MARKS[1], COLOURS[1]),
        "does not fit": (GREY, MARKS[6], "none"),
    }
    said: set[str] = set()
    for place, row in enumerate(rows):
        what = "does not fit" if not row["fits"] else "shorter" if row["run_days"] < answer else "longer"
        colour, mark, inside = looks[what]
        axes.plot([answer, row["run_days"]], [place, place], color=colour, linewidth=1.4)
        label = None if what in said else what
        axes.plot([row["run_days"]], [place], color=colour, marker=mark, markerfacecolor=inside, linestyle="none", label=label)
        said.add(what)
    named(axes, [str(row["change"]) for row in rows])
    axes.set_xlim(0, 1.05 * max(answer, *(row["run_days"] for row in rows)))
    from_zero(axes, "x", "time", format_days)
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=4)


def draw_scenarios(figure: Any, table: Table) -> None:
    """A bar for each share of peak: days where the number of devices is known, else GPU-days."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    time, text = ("wall_days", format_days) if all(row.get("wall_days") is not None for row in rows) else ("gpu_days", format_grouped)
    for place, row in enumerate(rows):
        axes.barh([place], [row[time]], height=0.6, color=COLOURS[0])
        at = {"textcoords": "offset points", "xytext": (4, 0), "va": "center", "fontsize": "small"}
        axes.annotate(f"{format_fraction(row['utilization_fraction'])} of peak", (row[time], place), **at)
    named(axes, [str(row["scenario"]) for row in rows])
    axes.set_xlim(0, 1.3 * max(row[time] for row in rows))
    from_zero(axes, "x", "time" if time == "wall_days" else "GPU-days", text)
    axes.grid(visible=True, axis="x")


def draw_rules(figure: Any, table: Table) -> None:
    """A bar for each rule, and on it the exact count."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    for place, row in enumerate(rows):
        axes.barh([place], [row["flop"]], height=0.6, color=COLOURS[0], label=None if place else "by the rule")
        exact = {"marker": MARKS[5], "markersize": 8, "linestyle": "none", "label": None if place else "counted exactly"}
        axes.plot([row["exact_flop"]], [place], color=COLOURS[1], **exact)
    named(axes, [str(row["rule"]) for row in rows])
    axes.set_xlim(0, 1.1 * max(max(row["flop"], row["exact_flop"]) for row in rows))
    from_zero(axes, "x", "FLOP", format_flop, most=4)
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def draw_near(figure: Any, table: Table) -> None:
    """What was planned of each run with its interval, and what it took."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    for place, row in enumerate(rows):
        span = [row["low_gpu_days"], row["high_gpu_days"]]
        axes.plot(span, [place, place], color=COLOURS[0], linewidth=2.5, marker="|", markersize=9, label=None if place else "80 % of it")
        axes.plot(
            [row["planned_gpu_days"]], [place], color=COLOURS[0], marker=MARKS[0], linestyle="none", label=None if place else "planned"
        )
        took = {"marker": MARKS[5], "markersize": 8, "linestyle": "none", "label": None if place else "took, as published"}
        axes.plot([row["measured_gpu_days"]], [place], color=COLOURS[1], **took)
    named(axes, [str(row["run"]) for row in rows])
    values = [row[key] for row in rows for key in ("low_gpu_days", "high_gpu_days", "measured_gpu_days")]
    logarithmic(axes, "x", "GPU-days", values, format_count)
    axes.grid(visible=True, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3)
