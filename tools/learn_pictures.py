"""The pictures of docs/learn.md and its translation, drawn from the records that were kept of this walk.

python -m tools.learn_pictures [FOLDER]    writes docs/learn/NAME.svg of the records in results/cpu-amd-epyc/suite, or in FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.records.record import Measurement, read_folder
from reports.drawing import COLOURS, HATCHES, from_zero, named
from reports.learned import Learned, learned
from reports.pages.learner import draw_curve, draw_journey, draw_time
from reports.pages.picture import Picture
from reports.summary import tables
from reports.table import Column, Table
from reports.views.records.learner import curve_table, learner_tables

ROOT = Path(__file__).resolve().parents[1]
RECORDS, FOLDER = "results/cpu-amd-epyc/suite", "docs/learn"

NETWORKS = {(): "a straight line", (1,): "1 neuron", (10,): "10 neurons", (100,): "100 neurons", (100, 100): "two layers of 100"}
"""Widths of the hidden layers -> what that is."""

Drawn = tuple[Picture, Sequence[Table]]


def pictures(records: Sequence[Measurement]) -> dict[str, Drawn]:
    """Each picture with the tables that it may show, by the name of its file."""
    whole = [each for each in learned(records) if not each.record.request.train_days]
    lines = {f"{each.look_back_days} day{'s' * (each.look_back_days > 1)}": each for each in whole if each.is_linear}
    seven = {_network(each): each for each in whole if each.look_back_days == 7}
    sums = {name: seven[name] for name in ("a straight line", "1 neuron", "10 neurons", "100 neurons")}
    deep = {name: seven[name] for name in ("a straight line", "100 neurons", "two layers of 100")}
    shown, taught = tables(records), learner_tables(records)
    by_key = {table.key: table for table in taught}
    return {
        "1-loss-falls": _curve("The loss of a straight line falls, epoch by epoch", _of(records, "linreg-1d")),
        "2-more-days": _bars("Straight lines that look back on more and more days", lines),
        "3-overfitting": (Picture(title="Too many parameters: overfitting", table="curve", draw=draw_curve, better="lower"), taught),
        "4-neurons": _bars("One layer: a neuron, ten, a hundred, beside the straight line", sums),
        "5-depth": _bars("Depth: no hidden layer, one, two", deep),
        "6-small-gpt": _curve("A small GPT learns to write", _of(records, "tiny-gpt")),
        "7-phi-2": (Picture(title="Phi-2: where the time goes", table="phi_2_time", draw=draw_time), [by_key["phi_2_time"]]),
        "8-gpt-3": (
            Picture(title="From 2 parameters to GPT-3: rings are estimated", table="journey", draw=draw_journey, height_in=4.4),
            shown,
        ),
    }


def _network(each: Learned) -> str:
    widths = (each.record.request.config or {})["widths"]
    return NETWORKS[tuple(widths[1:-1])]


def _of(records: Sequence[Measurement], model: str) -> Measurement:
    return next(record for record in records if record.request.model == model)


def _curve(title: str, record: Measurement) -> Drawn:
    return Picture(title=title, table="curve", draw=draw_curve, better="lower"), [curve_table(record)]


def _bars(title: str, networks: dict[str, Learned]) -> Drawn:
    table = Table(
        key="networks",
        title=title,
        columns=(
            Column(key="network", header="Network"),
            Column(key="train_loss", header="Train loss", align="right"),
            Column(key="heldout_loss", header="Held-out loss", align="right"),
        ),
        rows=[{"network": name, "train_loss": each.train_loss, "heldout_loss": each.heldout_loss} for name, each in networks.items()],
        kind="measured",
    )
    return Picture(title=title, table="networks", draw=draw_losses, better="left", height_in=2.8), [table]


def draw_losses(figure: Any, table: Table) -> None:
    """Two bars for each network: training loss and held-out loss."""
    axes = figure.add_subplot()
    rows: Sequence[Any] = table.rows
    for at, (key, label) in enumerate((("train_loss", "training days"), ("heldout_loss", "held-out days"))):
        places = [place + 0.36 * (at - 0.5) for place in range(len(rows))]
        axes.barh(places, [row[key] for row in rows], height=0.34, color=COLOURS[at], hatch=HATCHES[at], edgecolor="white", label=label)
    named(axes, [row["network"] for row in rows])
    from_zero(axes, "x", "loss: squared error of a day, in squared standard deviations", lambda loss: f"{loss:.2g}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def main(argv: list[str]) -> int:
    """Write them all."""
    records, _ = read_folder(ROOT / (argv[0] if argv else RECORDS))
    (ROOT / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, (picture, given) in pictures(records).items():
        (ROOT / FOLDER / f"{name}.svg").write_text(picture.svg(given) + "\n", encoding="utf-8")
        print(f"{FOLDER}/{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
