"""Pictures, drawn by matplotlib, an extra that is imported when one is asked for: SVG of fixed bytes for one version of it.

python -m reports.plots
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from typing import Any

from estimators.validation.score import Scored, scored
from estimators.validation.table import read_table, shipped
from reports.drawing import COLOURS, drawn

WITHIN_FRACTION = 0.25
"""Half width of the grey band around what was measured."""


def plot(rows: Sequence[Scored]) -> str:
    """Predicted against measured step times, each source left out of the fit: both axes logarithmic, coloured by source.

    Args:
        rows: those that count are drawn.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    points = [
        (row.step.source, row.measured_s, row.predicted_s) for row in rows if row.counts and row.step and row.measured_s and row.predicted_s
    ]
    times = [seconds for _, measured_s, predicted_s in points for seconds in (measured_s, predicted_s)]
    decades = range(math.floor(math.log10(min(times))), math.ceil(math.log10(max(times))) + 1)
    ends = [10.0 ** decades[0], 10.0 ** decades[-1]]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        low, high = ([(1 + way * WITHIN_FRACTION) * end for end in ends] for way in (-1, 1))
        axes.fill_between(ends, low, high, color="#eeeeee", label=f"within {100 * WITHIN_FRACTION:g} %")
        axes.plot(ends, ends, color="#555555", linewidth=1)
        for at, source in enumerate(sorted({source for source, *_ in points})):
            measured_s, predicted_s = zip(*((m, p) for of, m, p in points if of == source), strict=True)
            colour, label = COLOURS[at % len(COLOURS)], f"{source} ({len(measured_s)})"
            axes.scatter(measured_s, predicted_s, s=14, color=colour, alpha=0.6, linewidths=0, label=label)
        axes.grid(visible=True)
        axes.set(xlabel="measured step time", ylabel="predicted, its source unseen")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([10.0**decade for decade in decades], [f"{10.0**decade:g} s" for decade in decades])
            axis.set_ticks([], minor=True)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", markerscale=1.5)

    return drawn(draw, size=(8.6, 6), metadata=_metadata(points))


def _metadata(points: Sequence[tuple[str, float, float]]) -> dict[str, str | None]:
    """Title, and which points were drawn, by a digest that another version of matplotlib does not change; no date."""
    lines = sorted(f"{source} {measured:.4g} {predicted:.4g}" for source, measured, predicted in points)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return {
        "Title": "Predicted against measured step time, each source left out of the fit",
        "Description": f"{len(points)} steps, points {digest}",
    }


if __name__ == "__main__":
    sys.stdout.write(plot([scored(record) for path in shipped().values() for record in read_table(path)]) + "\n")
