"""What fills a memory, part upon part, against the line where it ends: the one drawing of it, for training, tuning and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from estimators.frozen import frozen
from estimators.units import GIBI, MEBI
from reports.drawing import COLOURS, FAINT, HATCHES, INK, PAPER, from_zero, named

FREE = "left"
"""The name of a part that is nothing but room."""


@frozen
class Bar:
    """One memory.

    Attributes:
        name: of the device, empty where there is one.
        parts: names and bytes, in the order in which they lie; one of no size is left out.
        limit: bytes that the device holds; None where that is not known.
        spread: a part, the least and the most that it may have; of a name that no part has, from where the bar begins.
    """

    name: str
    parts: Sequence[tuple[str, float]]
    limit: float | None
    spread: tuple[str, float, float] | None = None


def draw_stack(figure: Any, bars: Sequence[Bar], text: Callable[[float], str]) -> None:
    """Bars that lie, each of parts side by side, with a line where the device ends; names in the legend, of a single bar sizes as well.

    Args:
        text: of a size.
    """
    axes = figure.add_subplot()
    used = {part for bar in bars for part, size in bar.parts if size > 0 and part != FREE}
    names = [part for part in dict.fromkeys(part for bar in bars for part, _ in bar.parts) if part in used]
    looks = {part: (COLOURS[at % len(COLOURS)], HATCHES[at % len(HATCHES)]) for at, part in enumerate(names)} | {FREE: (FAINT, "")}
    said: set[str] = set()
    ends = [bar.limit for bar in bars if bar.limit is not None]
    for place, bar in enumerate(bars):
        begun = 0.0
        for part, size in bar.parts:
            if size <= 0:
                continue
            colour, hatch = looks[part]
            label = None if part in said else f"{part} {text(size)}" if len(bars) == 1 else part
            axes.barh([place], [size], left=begun, height=0.6, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.4, label=label)
            if bar.spread is not None and bar.spread[0] == part:
                _draw_spread(axes, bar.spread, begun, place, text)
            begun += size
            said.add(part)
        ends.append(begun)
        if bar.spread is not None and bar.spread[0] not in {part for part, _ in bar.parts}:
            _draw_spread(axes, bar.spread, 0.0, place, text)
            ends.append(bar.spread[2])
        if bar.limit is None:
            continue
        label = f"the device holds {text(bar.limit)}" if len(bars) == 1 else None if place else "the device holds"
        axes.plot([bar.limit, bar.limit], [place - 0.42, place + 0.42], color=INK, linewidth=2.2, label=label)
    named(axes, [bar.name for bar in bars])
    axes.set_xlim(0, 1.04 * max(ends))
    from_zero(axes, "x", "memory of one device", text, unit=GIBI if max(ends) >= GIBI else MEBI)
    handles, labels = axes.get_legend_handles_labels()
    places = [next((at for at, name in enumerate(names) if label == name or label.startswith(f"{name} ")), -1) for label in labels]
    ordered = sorted(range(len(labels)), key=lambda at: places[at])
    figure.legend([handles[at] for at in ordered], [labels[at] for at in ordered], loc="outside lower left", ncols=2, fontsize="small")


def _draw_spread(axes: Any, spread: tuple[str, float, float], begun: float, place: int, text: Callable[[float], str]) -> None:
    """The least and the most that a part may have, from where it begins."""
    part, low, high = spread
    label = f"80 % of {part}: {text(low)} to {text(high)}"
    axes.plot([begun + low, begun + high], [place, place], color=INK, marker="|", markersize=9, label=label)
