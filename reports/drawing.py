"""How pictures are drawn: colours, marks, axes, and a figure of matplotlib as SVG or PNG whose bytes depend on what it shows alone.

Nothing is told apart by its colour only: series have marks of their own, areas have hatches, and both have names in the legend.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estimators.extras import needed_by
from estimators.printable import cut

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#7f7f7f",
    "#882255",
    "#44aa99",
    "#999933",
    "#aa4499",
)
"""Okabe and Ito's colours, and Tol's muted ones: apart for colour-blind readers."""

INK, PAPER, GREY, FAINT, GRID = "#000000", "#ffffff", "#7f7f7f", "#eeeeee", "#dddddd"
"""Of lines and words; of what lies behind; of what was beaten; of an area that is set apart; of the grid."""

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
"""One for each series, so that a grey printer keeps them apart."""

LINES = ("-", "--", "-.", ":")
HATCHES = ("", "////", "\\\\\\\\", "xxxx", "----", "||||", "++++", "//", "\\\\", "xx", "--", "||")
"""Of areas that lie side by side; straight lines alone, because a pattern of dots takes a hundred times the bytes."""

DARK = {
    INK: "#e8e8e8",
    PAPER: "#17191c",
    FAINT: "#2b2e33",
    GRID: "#3a3e45",
    GREY: "#9a9a9a",
    "#0072b2": "#4aa8e0",
    "#d55e00": "#ff8a3d",
    "#009e73": "#2fcf9f",
    "#882255": "#d0689c",
    "#aa4499": "#d27cc4",
}
"""Colour -> what a page shows in its place on dark ground; others are light enough as they are."""

STYLE = {
    "svg.fonttype": "none",  # text stays text: searchable, and the same whatever fonts the drawing machine has
    "svg.hashsalt": "sixnd",  # else every drawing has new names inside
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a name may hold two dollar signs
    "legend.frameon": False,
    "legend.fontsize": "small",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "hatch.linewidth": 0.6,
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
}

ROUND = [digit * 10.0**power for power in range(-12, 28) for digit in (1, 2, 5)]
"""Values that a logarithmic axis is marked at."""

PIXELS_PER_INCH = 200
"""Of a PNG."""


def drawn(draw: Callable[[Any], None], *, size: tuple[float, float], metadata: Mapping[str, str | None]) -> str:
    """A figure as SVG.

    Args:
        draw: draws on an empty figure of matplotlib.
        size: inches.
        metadata: title and description; a date is never written.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    return _saved(draw, size, "svg", {"Date": None, "Creator": None, **metadata}).decode().rstrip("\n")


def drawn_png(draw: Callable[[Any], None], *, size: tuple[float, float], metadata: Mapping[str, str | None]) -> bytes:
    """The same as PNG. Raises MissingPackageError."""
    return _saved(draw, size, "png", {"Software": None, **metadata})


def _saved(draw: Callable[[Any], None], size: tuple[float, float], form: str, metadata: Mapping[str, str | None]) -> bytes:
    with needed_by("a picture"):
        from matplotlib import style
        from matplotlib.figure import Figure

    with style.context(["default", STYLE]), warnings.catch_warnings():
        figure = Figure(figsize=size, layout="constrained")
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks are a reader's font to show, and a long name is cut off
        draw(figure)
        content = io.BytesIO()
        figure.savefig(content, format=form, metadata=dict(metadata), dpi=PIXELS_PER_INCH)
    return content.getvalue()


def short(text: str) -> str:
    """A value as it stands beside an axis: without the zeros behind its point.

    >>> short("5.00 days"), short("$50.0 k"), short("1,024"), short("10.5 GiB")
    ('5 days', '$50 k', '1,024', '10.5 GiB')
    """
    return re.sub(r"(\d)(?:\.0+|(\.\d*?[1-9])0+)(?!\d)", r"\1\2", text)


def logarithmic(
    axes: Any,
    way: str,
    label: str,
    values: Sequence[float],
    text: Callable[[float], str],
    *,
    most: int = 7,
    ticks: Sequence[float] = (),
    margin: float = 1.25,
) -> None:
    """Make an axis logarithmic, and say so.

    Args:
        way: x or y.
        label: what it shows, and its unit.
        values: that are drawn; all above 0.
        text: a value as it is written beside its mark.
        most: marks; of more each second, or third, is left out.
        ticks: where they are; at round values unless given.
        margin: factor by which the axis passes the least and the greatest value.
    """
    axis = axes.xaxis if way == "x" else axes.yaxis
    axes.set(**{f"{way}scale": "log", f"{way}label": f"{label} (logarithmic)"})
    low, high = min(values) / margin, max(values) * margin
    axes.set(**{f"{way}lim": (low, high)})
    within = list(ticks) or [tick for tick in ROUND if low <= tick <= high]
    decades = [tick for tick in within if f"{tick:e}".startswith("1.0")]
    within = decades if len(within) > most and len(decades) > 2 and not ticks else within
    within = within[:: max(1, -(-len(within) // most))] if len(within) > 1 else sorted({min(values), max(values)})
    axis.set_ticks(within, [short(text(tick)) for tick in within])
    axis.set_ticks([], minor=True)


NAME_COLUMNS = 44
"""Characters of a name beside an axis; of a longer one the end is left out."""


def named(axes: Any, names: Sequence[str]) -> None:
    """Names beside an axis from top to bottom, at 0, 1, 2, ..."""
    axes.set_yticks(range(len(names)), [cut(name, NAME_COLUMNS) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def from_zero(axes: Any, way: str, label: str, text: Callable[[float], str], *, unit: float = 1.0, most: int = 6) -> None:
    """Let an axis begin at zero, after everything is drawn on it.

    Args:
        way, label, text: as of a logarithmic one.
        unit: of the marks: they are at 1, 2 or 5 times a power of ten of it.
        most: marks beside zero.
    """
    axis = axes.xaxis if way == "x" else axes.yaxis
    high = (axes.get_xlim() if way == "x" else axes.get_ylim())[1]
    step = next((digits * unit for digits in ROUND if digits * unit * most >= high), high)
    axes.set(**{f"{way}label": label, f"{way}lim": (0, high)})
    ticks = [step * number for number in range(int(high / step) + 1)]
    axis.set_ticks(ticks, [short(text(tick)) if tick else "0" for tick in ticks])
