"""What fills a memory, part upon part, against the line where it ends: the one drawing of it, for training, tuning and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from estimators.units import GIBI
from reports.drawing import COLOURS, FAINT, HATCHES, INK, PAPER, from_zero

FREE = "left"
"""The name of a part that is nothing but room."""


def draw_stack(
    figure: Any,
    bars: Sequence[tuple[str, Sequence[tuple[str, float]]]],
    limit: tuple[str, float] | None,
    text: Callable[[float], str],
    *,
    spread: tuple[str, float, float] | None = None,
) -> None:
    """Bars that lie, each of parts side by side; names and sizes in the legend.

    Args:
        bars: name -> its parts with their sizes, in base units; a part of no size is left out.
        limit: a name and a size: the line that must not be passed.
        text: of a size.
        spread: a part of the first bar, the least and the most that it may have.
    """
    axes = figure.add_subplot()
    names = list(dict.fromkeys(part for _, parts in bars for part, size in parts if size > 0 and part != FREE))
    looks = {part: (COLOURS[at % len(COLOURS)], HATCHES[at % len(HATCHES)]) for at, part in enumerate(names)} | {FREE: (FAINT, "")}
    ends, said = [], set()
    for place, (_, parts) in enumerate(bars):
        begun = 0.0
        for part, size in parts:
            if size <= 0:
                continue
            colour, hatch = looks[part]
            sized = f"{part} {text(size)}" if len(bars) == 1 else part
            label = None if part in said else sized
            axes.barh([place], [size], left=begun, height=0.6, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.8, label=label)
            begun += size
            said.add(part)
        ends.append(begun)
    if limit is not None:
        name, most = limit
        axes.axvline(most, color=INK, linewidth=1.8, label=f"{name}: {text(most)}")
        ends.append(most)
    if spread is not None:
        part, low, high = spread
        before = sum(size for name, size in bars[0][1][: [name for name, _ in bars[0][1]].index(part)])
        axes.plot(
            [before + low, before + high], [0, 0], color=INK, marker="|", markersize=9, label=f"80 % of {part}: {text(low)} to {text(high)}"
        )
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, 1.04 * max(ends))
    from_zero(axes, "x", "memory of one device", text, unit=GIBI)
    axes.tick_params(axis="y", length=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize="small")
