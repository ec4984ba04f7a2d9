"""How pictures are drawn: colours, style, and a figure of matplotlib as SVG whose bytes depend on what it shows and on nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from estimators.extras import needed_by

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

STYLE = {
    "svg.fonttype": "none",  # text stays text: searchable, and the same whatever fonts the drawing machine has
    "svg.hashsalt": "sixnd",  # else every drawing has new names inside
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "legend.frameon": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


def drawn(draw: Callable[[Any], None], *, size: tuple[float, float], metadata: Mapping[str, str | None]) -> str:
    """A figure as SVG.

    Args:
        draw: draws on an empty figure of matplotlib.
        size: inches.
        metadata: title and description; a date is never written.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    with needed_by("a picture"):
        from matplotlib import style
        from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        figure = Figure(figsize=size, layout="compressed")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, **metadata})
    return text.getvalue().rstrip("\n")
