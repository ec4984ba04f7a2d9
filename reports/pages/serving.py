"""The page of a served model: its curve, the memory of a device, money against latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.errors import MissingPackageError
from estimators.serving.answer import ServeAnswer
from estimators.units import GIBI, format_duration
from reports.drawing import COLOURS, drawn
from reports.pages.page import html_page
from reports.screen import Screen
from reports.table import Table
from reports.views.serving.words import lengths_text, subject_text


def serving_page(answer: ServeAnswer, tables: Sequence[Table], screen: Screen) -> str:
    """The answer as a page; without matplotlib its tables alone, and the line that installs it."""
    try:
        pictures = [("The memory of one device, the fullest", memory_picture(answer))]
        if answer.points:
            pictures.insert(0, ("By users in flight on one replica: what each gets, and what a GPU writes", curve_picture(answer)))
        if answer.points and answer.question.rent is not None:
            pictures.append(("Dollars per million output tokens against what a user gets", money_picture(answer)))
    except MissingPackageError as error:
        return html_page(screen, tables, [], missing=str(error))
    return html_page(screen, tables, pictures)


def _metadata(answer: ServeAnswer, title: str) -> dict[str, str | None]:
    return {"Title": title, "Description": f"{subject_text(answer)}, {lengths_text(answer.question)}"}


ROUND = [digit * 10.0**power for power in range(-5, 6) for digit in (1, 2, 5)]
"""Values that axes are marked at."""


def _name_points(axes: Any, answer: ServeAnswer, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Users beside each point that is let in whole; those of users who wait lie upon one another."""
    for point, x, y in zip(answer.points, xs, ys, strict=True):
        if not point.load.waiting:
            axes.annotate(f"{point.load.users:g}", (x, y), textcoords="offset points", xytext=(6, 4), fontsize="small")


def curve_picture(answer: ServeAnswer) -> str:
    """Latency by users with the limits, and throughput of a GPU against tokens of a user. Raises MissingPackageError."""
    asked = answer.question
    users = [float(point.load.users) for point in answer.points]
    waits = [point.load.users for point in answer.points if point.load.waiting > 0]

    def draw(figure: Any) -> None:
        latency, trade = figure.subplots(1, 2)
        for at, (name, values, limit) in enumerate(
            (
                ("TTFT", [point.ttft_s for point in answer.points], asked.ttft_limit_s),
                ("ITL", [float(point.load.itl_s) for point in answer.points], asked.itl_limit_s),
            )
        ):
            off = answer.points[0].ttft_interval if name == "TTFT" else answer.points[0].itl_interval
            latency.fill_between(users, [off.low * x for x in values], [off.high * x for x in values], color=COLOURS[at], alpha=0.15)
            latency.plot(users, values, marker="o", color=COLOURS[at], label=f"mean {name}")
            if limit is not None:
                latency.axhline(limit, color=COLOURS[at], linestyle="--", linewidth=1, label=f"limit of {name}")
        if waits and len(users) > 1:
            latency.axvspan(min(waits), max(users), color="#eeeeee", label="users wait for room")
        if answer.best is not None:
            latency.axvline(float(answer.best.load.users), color="#7f7f7f", linewidth=1, label="most users within the limits")
        latency.set(xscale="log", yscale="log", xlabel="users in flight on one replica")
        latency.yaxis.set_major_formatter(lambda seconds, _: format_duration(seconds, 1))
        latency.set_xticks(users, [f"{number:g}" for number in users], rotation=45 if len(users) > 8 else 0)
        latency.set_xticks([], minor=True)
        latency.legend(loc="upper left", fontsize="small")
        each = [float(point.load.output_tokens_per_s_per_user) for point in answer.points]
        per_gpu = [point.output_tokens_per_s_per_gpu for point in answer.points]
        trade.plot(each, per_gpu, marker="o", color=COLOURS[2])
        _name_points(trade, answer, each, per_gpu)
        trade.set(xlabel="output tokens/s of a user (1 / ITL)", ylabel="output tokens/s of a GPU", ylim=(0, None), xlim=(0, None))
        for axes in (latency, trade):
            axes.grid(visible=True)

    return drawn(draw, size=(10.5, 4.4), metadata=_metadata(answer, "Latency and throughput by users in flight"))


def memory_picture(answer: ServeAnswer) -> str:
    """Weights by part, activations, cache and what is left, one upon the other. Raises MissingPackageError."""
    found = answer.budget
    memory = answer.question.deployment.hardware.memory_bytes
    parts = {**found.weights, "activations": found.activations_bytes, "outside": found.outside_bytes, "KV cache": max(0.0, found.kv_bytes)}
    parts["left"] = max(0.0, memory - sum(parts.values()))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        begun = 0.0
        for at, (name, size) in enumerate((name, size) for name, size in parts.items() if size):
            colour = "#eeeeee" if name == "left" else COLOURS[at % len(COLOURS)]
            axes.barh([0], [size / GIBI], left=begun / GIBI, color=colour, label=f"{name} {size / GIBI:.2f} GiB")
            begun += size
        axes.axvline(memory / GIBI, color="#000000", linewidth=1.5)
        if not found.is_measured and found.kv_bytes > 0:
            end = (found.weights_bytes + found.activations_bytes + found.outside_bytes) / GIBI
            low, high = max(0.0, found.low_kv_bytes) / GIBI, found.high_kv_bytes / GIBI
            middle = found.kv_bytes / GIBI
            axes.errorbar([end + middle], [0], xerr=[[middle - low], [max(0.0, high - middle)]], color="#000000", capsize=4, linewidth=1)
        axes.set(yticks=[], xlabel="GiB; the line is the device's memory, the bar the 80 % interval of the cache")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")

    return drawn(draw, size=(10.5, 2.6), metadata=_metadata(answer, "Memory of one device"))


def money_picture(answer: ServeAnswer) -> str:
    """Dollars per million output tokens by what a user gets; the band is between the cheapest quote and the dearest.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    asked = answer.question
    assert asked.rent is not None
    rent = asked.rent
    shown = [(point, point.price) for point in answer.points if point.price is not None]
    between_s = [float(point.load.itl_s) for point, _ in shown]
    dollars = [price.output_usd for _, price in shown]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(yscale="log", xscale="log")
        axes.plot(between_s, dollars, marker="o", color=COLOURS[0], label=rf"rent of \${rent.median:.2f} per GPU-hour, all on output")
        if rent.high > rent.low:
            low, high = ([usd * end / rent.median for usd in dollars] for end in (rent.low, rent.high))
            axes.fill_between(between_s, low, high, color="#cfe3f1", label=rf"quotes from \${rent.low:.2f} to \${rent.high:.2f}")
        if asked.api is not None:
            of_output = asked.api.usd_per_request(asked.input_tokens, asked.output_tokens) / asked.output_tokens * 1e6
            axes.axhline(
                of_output, color=COLOURS[1], linestyle="--", label=rf"the API's price of a request, on its output: \${of_output:.2f}"
            )
        _name_points(axes, answer, between_s, dollars)
        axes.set(xlabel="time between tokens (ITL); the numbers are users", ylabel="dollars per million output tokens")
        for axis, values in ((axes.xaxis, between_s), (axes.yaxis, dollars)):
            ticks = [tick for tick in ROUND if min(values) / 2 <= tick <= 2 * max(values)]
            axis.set_ticks(ticks, [format_duration(tick, 1) if values is between_s else f"{tick:g}" for tick in ticks])
            axis.set_ticks([], minor=True)
        axes.grid(visible=True)
        axes.legend(fontsize="small")

    return drawn(draw, size=(10.5, 4), metadata=_metadata(answer, "Dollars per million output tokens against latency"))
