"""What a picture shows, read from matplotlib's own objects, and what its table holds: no figure of the one may be missing in the other."""

from __future__ import annotations

import bisect
import inspect
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from estimators import units
from estimators.printable import cut
from reports.drawing import NAME_COLUMNS, STYLE
from reports.pages.picture import ARROWS, Picture
from reports.table import Table

NUMBER = re.compile(r"\d[\d,.]*\d|\d")
FORMATS = [function for name, function in inspect.getmembers(units, inspect.isfunction) if name.startswith("format_")]
"""Every way in which this project writes a number."""


def figure_of(picture: Picture, tables: Sequence[Table]) -> Figure:
    """The picture as it is drawn."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(5.6, 3.6), layout="constrained")
        picture.draw_on(figure, tables)
        figure.draw_without_rendering()
    return figure


def held(table: Table) -> list[float]:
    """Every number of the table: of its rows, and of its facts."""
    return [*(value for row in table.rows for value in numbers(row.values())), *numbers(table.facts.values())]


def numbers(values: Iterable[object]) -> Iterator[float]:
    """The finite numbers among values, in whatever holds them."""
    for value in values:
        if isinstance(value, dict):
            yield from numbers(value.values())
        elif isinstance(value, list | tuple):
            yield from numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield float(value)


def points_not_held(figure: Figure, table: Table) -> list[str]:
    """What is drawn at a place that the table has no number for; an axis of names has none, and zero is where bars begin."""
    known = sorted({0.0, *held(table)})

    def is_held(value: float) -> bool:
        at = bisect.bisect(known, value)
        return any(math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12) for other in known[max(0, at - 1) : at + 1])

    return [
        f"{way} {at:g}"
        for axes in figure.axes
        for way, at, begun in _drawn(axes)
        if not _is_of_names(axes, way, table) and not any(is_held(at - start) for start in begun)
    ]


def _is_of_names(axes: Axes, way: str, table: Table) -> bool:
    """Whether the marks of an axis are names, at 0, 1, 2, ...: cells of the table, two of a row, or nothing; a long one is cut."""
    axis = axes.yaxis if way == "y" else axes.xaxis
    names = [text.get_text() for text in axis.get_ticklabels()]
    cells = [[value for value in row.values() if isinstance(value, str)] for row in table.rows]
    known = {
        *(cell for row in cells for cell in row),
        *(f"{one}: {other}" for row in cells for one, other in itertools.permutations(row, 2)),
    }
    known |= {cut(name, NAME_COLUMNS) for name in known}
    places = [float(place) for place in axis.get_majorticklocs()]
    return places == [*range(len(places))] and all(not name or name in known for name in names)


def _drawn(axes: Axes) -> Iterator[tuple[str, float, Sequence[float]]]:
    """Which axis, and where on it, of every line, point, band, bar and mark; and from where that may be measured: bars count by their size,
    a mark that lies on one from where any of them begins."""
    bars = [
        (bar, container.orientation) for container in axes.containers if isinstance(container, BarContainer) for bar in container.patches
    ]
    begun = {"x": [0.0], "y": [0.0]}
    for bar, way in bars:
        begun["x" if way == "horizontal" else "y"].append(bar.get_x() if way == "horizontal" else bar.get_y())
        yield ("x", bar.get_width(), [0.0]) if way == "horizontal" else ("y", bar.get_height(), [0.0])
    for line in axes.lines:
        in_x, in_y = line.get_transform().contains_branch_seperately(axes.transData)
        yield from (("x", float(x), begun["x"] if in_y else [0.0]) for x in (line.get_xdata(orig=False) if in_x else ()))
        yield from (("y", float(y), begun["y"] if in_x else [0.0]) for y in (line.get_ydata(orig=False) if in_y else ()))
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            yield from ((way, float(at), [0.0]) for point in collection.get_offsets() for way, at in zip("xy", point, strict=True))
        elif isinstance(collection, LineCollection | PolyCollection):
            vertices = [point for path in collection.get_paths() for point in path.vertices]
            yield from ((way, float(at), [0.0]) for point in vertices for way, at in zip("xy", point, strict=True))
    for patch in axes.patches:
        if isinstance(patch, Rectangle) and all(patch is not bar for bar, _ in bars):
            in_x, in_y = patch.get_transform().contains_branch_seperately(axes.transData)
            yield from (("x", at, [0.0]) for at in ((patch.get_x(), patch.get_x() + patch.get_width()) if in_x else ()))
            yield from (("y", at, [0.0]) for at in ((patch.get_y(), patch.get_y() + patch.get_height()) if in_y else ()))


def words_not_held(figure: Figure, table: Table) -> list[str]:
    """Texts, other than the scale of an axis, with a number that the table neither holds nor says."""
    said = set(NUMBER.findall(table.printable().text()))
    said |= {number for row in table.rows for value in row.values() if isinstance(value, str) for number in NUMBER.findall(value)}
    said |= {number for value in table.facts.values() if isinstance(value, str) for number in NUMBER.findall(value)}
    scales = {id(text) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in axis.get_ticklabels(which="both")}
    texts = [text.get_text() for text in figure.findobj(Text) if id(text) not in scales and text.get_visible()]
    missing = {number for text in texts for number in NUMBER.findall(text)} - said
    for value, form in itertools.product(sorted(set(held(table))), FORMATS) if missing else ():
        missing -= {number for digits in (1, 2, 3) for number in NUMBER.findall(_formatted(form, value, digits))}
        if not missing:
            break
    return [text for text in texts if text not in ARROWS.values() and missing.intersection(NUMBER.findall(text))]


def _formatted(form: Any, value: float, digits: int) -> str:
    whole = int(value) if value.is_integer() else value
    if form is units.format_int:
        return form(whole) if isinstance(whole, int) else ""
    return form(whole, digits) if "digits" in inspect.signature(form).parameters else form(whole)


def axes_not_said(figure: Figure, table: Table) -> list[str]:
    """Axes that neither begin at zero, nor are logarithmic and say so, nor are of names."""
    wrong = []
    for axes in figure.axes:
        for way, axis, limits in (("x", axes.xaxis, axes.get_xlim()), ("y", axes.yaxis, axes.get_ylim())):
            label, is_log = axis.get_label_text(), axis.get_scale() == "log"
            if not _is_of_names(axes, way, table) and not (is_log and "logarithmic" in label) and not (not is_log and min(limits) == 0):
                wrong.append(f"{label!r} from {min(limits):g}")
    return wrong
