"""The picture of accuracy: predicted against measured step times, of the rows that `validate` scores.

python -m reports.pages.accuracy    prints it of the shipped rows, as docs/accuracy.svg holds it
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from estimators.validation.score import Scored, scored
from estimators.validation.table import read_table, shipped
from reports.drawing import COLOURS, FAINT, GREY, MARKS
from reports.pages.picture import Picture
from reports.table import Table
from reports.views.training.accuracy import rows_table

WITHIN_FRACTION = 0.25
"""Half width of the grey band around what was measured."""


def step_pictures(rows: Sequence[Scored]) -> list[Picture]:
    """The picture of the rows that count; none without one."""
    title = "Predicted against measured step time, each source left out of the fit"
    shown = Picture(title=title, table="all_rows", draw=draw_steps, better="diagonal", width_in=8.6, height_in=6)
    return [shown] if any(row.counts for row in rows) else []


def draw_steps(figure: Any, table: Table) -> None:
    """Both axes logarithmic, a colour and a mark for each source."""
    rows = [row for row in table.rows if row["counts"] and row["quantity"] == "step_time_s" and row["measured"] and row["predicted"]]
    times = [float(str(row[key])) for row in rows for key in ("measured", "predicted")]
    decades = range(math.floor(math.log10(min(times))), math.ceil(math.log10(max(times))) + 1)
    ends = [10.0 ** decades[0], 10.0 ** decades[-1]]
    axes = figure.add_subplot(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    low, high = ([(1 + way * WITHIN_FRACTION) * end for end in ends] for way in (-1, 1))
    axes.fill_between(ends, low, high, color=FAINT, label=f"within {100 * WITHIN_FRACTION:g} %")
    axes.plot(ends, ends, color=GREY, linewidth=1)
    for at, source in enumerate(sorted({str(row["source"]) for row in rows})):
        measured_s, predicted_s = zip(*((row["measured"], row["predicted"]) for row in rows if row["source"] == source), strict=True)
        colour, label = COLOURS[at % len(COLOURS)], f"{source} ({len(measured_s)})"
        mark = MARKS[at // len(COLOURS) % len(MARKS)]
        axes.scatter(measured_s, predicted_s, s=14, marker=mark, color=colour, alpha=0.6, linewidths=0, label=label)
    axes.grid(visible=True)
    axes.set(xlabel="measured step time (logarithmic)", ylabel="predicted, its source unseen (logarithmic)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([10.0**decade for decade in decades], [f"{10.0**decade:g} s" for decade in decades])
        axis.set_ticks([], minor=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", markerscale=1.5)


if __name__ == "__main__":
    shipped_rows = [scored(record) for path in shipped().values() for record in read_table(path)]
    sys.stdout.write(step_pictures(shipped_rows)[0].svg([rows_table(shipped_rows)]) + "\n")
