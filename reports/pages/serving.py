"""The pictures of a served model: latency by users, throughput against speed, the memory of a device, money against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estimators.serving.answer import ServeAnswer
from estimators.units import format_bytes, format_duration, format_int, format_money, format_rate
from reports.drawing import COLOURS, FAINT, INK, LINES, MARKS, from_zero, logarithmic
from reports.pages.picture import Picture
from reports.pages.stack import Bar, draw_stack
from reports.table import Table

Row = Mapping[str, Any]


def serving_pictures(answer: ServeAnswer) -> list[Picture]:
    """What the answer has to be drawn; of a deployment that does not fit the memory alone."""
    memory = Picture(title="The memory of one device, the fullest, by part", table="memory", draw=draw_memory, better="fits", height_in=2.7)
    if not answer.points:
        return [memory]
    latency = Picture(title="Latency by users in flight on one replica, with its 80 %", table="curve", draw=draw_latency, better="lower")
    if answer.question.output_tokens <= 1:
        return [latency, memory]
    title = "What a user gets, and what a GPU writes, by users in flight"
    trade = Picture(title=title, table="curve", draw=draw_trade, better="upper right")
    money = Picture(
        title="Dollars per million output tokens, by users in flight", table="prices", draw=draw_money, better="lower left", height_in=3.9
    )
    return [latency, trade, memory, *([money] if answer.question.rent is not None else [])]


def search_pictures(tables: Sequence[Table]) -> list[Picture]:
    """Of the deployments that no other beats, what each gives a user and a GPU; none of a single one, or of none."""
    front = next(table for table in tables if table.key == "front")
    shown = Picture(title=front.title, table="front", draw=draw_front, better="upper right", height_in=4.4)
    return [shown] if len(front.rows) > 1 else []


MOST_DEPLOYMENTS = 8
"""Deployments that are told apart; those beyond are left to the table."""


def draw_front(figure: Any, table: Table) -> None:
    """A mark for each point of the front, one look for each number of devices, cut and formats."""
    axes = figure.add_subplot()
    x, y = "output_tokens_per_s_per_user", "output_tokens_per_s_per_gpu"
    front: Sequence[Row] = table.rows
    looks: dict[str, list[Row]] = {}
    for row in front:
        looks.setdefault(f"{row['num_gpus']} GPUs, {row['cut']}, {row['weights']}, {row['kv']} cache", []).append(row)
    for at, (name, rows) in enumerate(list(looks.items())[:MOST_DEPLOYMENTS]):
        points = {"marker": MARKS[at % len(MARKS)], "color": COLOURS[at % len(COLOURS)], "linestyle": "none", "markersize": 7}
        axes.plot([row[x] for row in rows], [row[y] for row in rows], label=name, **points)
    for row in front[:: -(-len(front) // MOST_DEPLOYMENTS)]:
        axes.annotate(f"{row['users']:,}", (row[x], row[y]), textcoords="offset points", xytext=(6, 4), fontsize="small")
    axes.set(xlim=(0, 1.1 * max(row[x] for row in front)), ylim=(0, 1.1 * max(row[y] for row in front)))
    from_zero(axes, "x", "output tokens/s of a user; beside the points: users", format_rate)
    from_zero(axes, "y", "output tokens/s of a GPU", format_rate)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def draw_latency(figure: Any, table: Table) -> None:
    """Time to the first token and between tokens, with their intervals and limits."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    facts, users = table.facts, [row["users"] for row in rows]
    limits = {"ttft": facts["ttft_limit_s"], "itl": facts["itl_limit_s"]}
    shown = [name for name in ("ttft", "itl") if rows[0].get(f"{name}_s") is not None]
    for at, name in enumerate(shown):
        low, middle, high = ([row[f"{name}{end}_s"] for row in rows] for end in ("_low", "", "_high"))
        axes.fill_between(users, low, high, color=COLOURS[at], alpha=0.18, linewidth=0)
        axes.plot(users, middle, marker=MARKS[at], linestyle=LINES[0], color=COLOURS[at], label=f"mean {name.upper()}")
        if limits[name] is not None:
            label = f"limit of {name.upper()}: {format_duration(limits[name])}"
            axes.axhline(limits[name], color=COLOURS[at], linestyle=LINES[1 + at], linewidth=1.2, label=label)
    waits = [row["users"] for row in rows if row["waiting"] > 0]
    if waits and len(rows) > 1:
        axes.axvspan(min(waits), max(users), color=FAINT, label="users wait for room")
    if facts["users_within_limits"] is not None:
        most = facts["users_within_limits"]
        axes.axvline(most, color=INK, linewidth=1, linestyle=LINES[3], label=f"within the limits: {most:,} users")
    times = [row[f"{name}{end}_s"] for row in rows for name in shown for end in ("_low", "_high")]
    logarithmic(axes, "x", "users in flight on one replica", users, lambda number: format_int(round(number)))
    logarithmic(axes, "y", "time", [*times, *(limit for limit in limits.values() if limit)], lambda seconds: format_duration(seconds, 1))
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def _name_points(axes: Any, rows: Sequence[Row], x: str, y: str) -> None:
    """Users beside some points, that is let in whole; those of users who wait lie upon one another."""
    whole = [row for row in rows if not row["waiting"]]
    for row in whole[:: -(-len(whole) // 6)]:
        axes.annotate(f"{row['users']:,}", (row[x], row[y]), textcoords="offset points", xytext=(6, 4), fontsize="small")


def draw_trade(figure: Any, table: Table) -> None:
    """Tokens per second of a GPU against those of a user."""
    axes = figure.add_subplot()
    x, y = "output_tokens_per_s_per_user", "output_tokens_per_s_per_gpu"
    rows: Sequence[Row] = table.rows
    axes.plot([row[x] for row in rows], [row[y] for row in rows], marker=MARKS[2], color=COLOURS[2])
    _name_points(axes, rows, x, y)
    from_zero(axes, "x", "output tokens/s of a user (1 / ITL); beside the points: users", format_rate)
    from_zero(axes, "y", "output tokens/s of a GPU", format_rate)
    axes.grid(visible=True)


def draw_memory(figure: Any, table: Table) -> None:
    """Weights by part, activations, cache and what is left, one upon the other."""
    rows: Sequence[Row] = table.rows
    facts, parts = table.facts, [(str(row["part"]).replace("_", " "), float(row["bytes"])) for row in rows]
    low, high = facts["kv_low_bytes"], facts["kv_high_bytes"]
    spread = ("kv cache", low, high) if low is not None else None
    draw_stack(figure, [Bar(name="", parts=parts, limit=facts["device_memory_bytes"], spread=spread)], format_bytes)


def draw_money(figure: Any, table: Table) -> None:
    """Dollars per million output tokens by what a user waits for a token; the band is between the cheapest quote and the dearest."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    facts = table.facts
    times, dollars = [row["itl_s"] for row in rows], [row["usd_per_million_output"] for row in rows]
    low, high = ([row[f"usd_per_million_output_{end}"] for row in rows] for end in ("low", "high"))
    rent = f"rent of {format_money(facts['usd_per_gpu_hour'])} per GPU-hour, all on output"
    axes.plot(times, dollars, marker=MARKS[0], color=COLOURS[0], label=rent)
    if low != high:
        axes.fill_between(times, low, high, color=COLOURS[0], alpha=0.18, linewidth=0, label="from the cheapest quote to the dearest")
    api = facts["api_usd_per_million_output"]
    if api is not None:
        label = f"an API's price of a request, on its output: {format_money(api)}"
        axes.axhline(api, color=COLOURS[1], linestyle=LINES[1], label=label)
    _name_points(axes, rows, "itl_s", "usd_per_million_output")
    logarithmic(axes, "x", "time between tokens, ITL; beside the points: users", times, lambda seconds: format_duration(seconds, 1))
    values = [*low, *high, *([api] if api else [])]
    logarithmic(axes, "y", "$ per million output", values, format_money)
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)
