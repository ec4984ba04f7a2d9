"""A picture of predicted against measured step times, as an SVG of fixed bytes: no clock, no font metrics, no random names.

python -m reports.plots
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from xml.sax.saxutils import escape

from estimators.validation.score import Scored, scored
from estimators.validation.table import read_table, shipped

WIDTH, HEIGHT, LEFT, TOP, SIDE = 820, 560, 70, 30, 480
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


def plot(rows: Sequence[Scored]) -> str:
    """Both axes logarithmic, one decade per grid line; the band holds predictions within 25 %.

    Args:
        rows: those that count are drawn, coloured by source.
    """
    points = [(row.measured_s, row.predicted_s, row.step.source) for row in rows if row.counts and row.step]
    times = [time for measured, predicted, _ in points for time in (measured, predicted) if time]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def place(seconds: float) -> float:
        return SIDE * (math.log10(seconds) - low) / (high - low)

    def x(seconds: float) -> str:
        return f"{LEFT + place(seconds):.1f}"

    def y(seconds: float) -> str:
        return f"{TOP + SIDE - place(seconds):.1f}"

    start, end = 10.0**low, 10.0**high
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        "<title>Predicted against measured step time, each source left out of the fit</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<clipPath id="area"><rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/></clipPath>',
    ]
    for decade in range(low, high + 1):
        at, label = 10.0**decade, f"{10.0**decade:g} s"
        parts += [
            f'<path d="M{x(at)} {TOP}V{TOP + SIDE}M{LEFT} {y(at)}H{LEFT + SIDE}" stroke="#dddddd" fill="none"/>',
            f'<text x="{x(at)}" y="{TOP + SIDE + 18}" text-anchor="middle">{label}</text>',
            f'<text x="{LEFT - 6}" y="{y(at)}" text-anchor="end" dominant-baseline="middle">{label}</text>',
        ]
    band = f"M{x(start)} {y(start * 0.75)}L{x(end)} {y(end * 0.75)}L{x(end)} {y(end * 1.25)}L{x(start)} {y(start * 1.25)}Z"
    parts += [
        f'<path d="{band}" fill="#eeeeee" clip-path="url(#area)"/>',
        f'<path d="M{x(start)} {y(start)}L{x(end)} {y(end)}" stroke="#555555" fill="none"/>',
        f'<text x="{LEFT + SIDE / 2:g}" y="{TOP + SIDE + 40}" text-anchor="middle">measured step time</text>',
        f'<text transform="translate(16 {TOP + SIDE / 2:g}) rotate(-90)" text-anchor="middle">predicted, its source unseen</text>',
    ]
    for place_in_legend, source in enumerate(sorted({source for _, _, source in points})):
        colour, own = COLOURS[place_in_legend % len(COLOURS)], [point for point in points if point[2] == source]
        dots = "".join(f'<circle cx="{x(m)}" cy="{y(p)}" r="2.5"/>' for m, p, _ in own if m and p)
        top = TOP + 14 + 22 * place_in_legend
        parts += [
            f'<g fill="{colour}" fill-opacity="0.6">{dots}</g>',
            f'<circle cx="{LEFT + SIDE + 24}" cy="{top}" r="5" fill="{colour}"/>',
            f'<text x="{LEFT + SIDE + 36}" y="{top}" dominant-baseline="middle">{escape(source)} ({len(own)})</text>',
        ]
    return "\n".join([*parts, f'<text x="{LEFT + SIDE + 18}" y="{TOP + SIDE - 4}" fill="#777777">grey: within 25 %</text>', "</svg>"])


if __name__ == "__main__":
    sys.stdout.write(plot([scored(record) for path in shipped().values() for record in read_table(path)]) + "\n")
