"""Fit the rates of training on images and write estimators/facts/data/sample_rates.json; or print how far off left-out rows are.

python -m tools.fit_sample_rates            fits on all rows and writes the file
python -m tools.fit_sample_rates --table    prints each row as predicted by constants that have not seen it

Least squares on predicted over measured, two constants a class, on the rows of one device. A row of that device is judged by constants
of the class's other rows, a row of another device by the factor of the other sources' rows.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estimators.architectures.from_config import model_from_config
from estimators.facts import data
from estimators.facts.registry import hardware, model_entry
from estimators.spec import Hardware, Model, Op, Workload
from estimators.training.sample_rates import KINDS, Constants, Kind, kind_of, step_seconds
from reports.render import render
from reports.table import Column, Table

FILE = data.file("sample_rates.json")
ROWS = data.file("measured", "images.csv")
INSIDE = 0.8
"""Share of left-out rows that an interval is to hold."""

FEWEST = 1.3
"""An interval of other devices is no narrower than this: few sources speak of them."""

BORROWED = 1.6
"""The factor of classes without a row, assumed: a model of another kind on another device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured training: of what, how fast, and its op table at the batch of one device."""

    source: str
    name: str
    kind: Kind
    device: Hardware
    dtype: str
    batch: int
    seconds: float
    ops: tuple[Op, ...]


def rows() -> list[Row]:
    """The shipped rows."""
    read = []
    with open(ROWS, encoding="utf-8", newline="") as stream:
        for cells in csv.DictReader(stream):
            model, batch = model_of(cells), int(cells["micro_batch"])
            kind = kind_of(model)
            assert kind is not None
            read.append(
                Row(
                    source=cells["source"],
                    name=cells["name"],
                    kind=kind,
                    device=hardware(cells["hardware"]),
                    dtype=cells["dtype"],
                    batch=batch,
                    seconds=batch * int(cells["devices"]) / float(cells["samples_per_s"]),
                    ops=model.ops(Workload(phase="train", batch=batch, dtype=cells["dtype"])),
                )
            )
    return read


def model_of(cells: dict[str, str]) -> Model:
    """The model of a row: a shipped one, with what the row says otherwise."""
    entry = model_entry(cells["model"])
    changes = json.loads(cells["changes"] or "{}")
    labelled = {"num_labels": 1000} if entry.config["model_type"] in ("vit", "deit") else {}
    config = {**entry.config, **labelled, **changes, "image_size": int(cells["image_size"])}
    if entry.config["model_type"] == "vit":
        config["architectures"] = ["ViTForImageClassification"]
    if entry.config["model_type"] == "resnet":
        del config["image_size"]
    return model_from_config(config, cells["name"])


def fitted(seen: Sequence[Row]) -> Constants:
    """The constants of one class; the same share of error weighs the same at any length.

    Where its rows do not tell the scores of attention from other traffic, the two have one constant.
    """
    columns = np.array([[step_seconds(row.ops, row.device, row.dtype, each) / row.seconds for each in UNITS] for row in seen])
    for units in (columns, np.stack([columns[:, 0], columns[:, 1] + columns[:, 2]], axis=1)):
        solved, *_ = np.linalg.lstsq(units, np.ones(len(seen)), rcond=None)
        if (solved > 0).all():
            break
    products, traffic, scores = (float(value) for value in (*solved, solved[-1])[:3])
    assert min(products, traffic, scores) > 0
    return Constants(products=round(products, 3), traffic=round(traffic, 2), scores=round(scores, 2))


UNITS = tuple(Constants(products=a, traffic=b, scores=c) for a, b, c in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))


def left_out(read: Sequence[Row], measured_on: str) -> list[float]:
    """Predicted over measured, of each row by constants that have not seen it."""
    here = [row for row in read if row.device.id == measured_on]
    constants = {kind: fitted([row for row in here if row.kind == kind]) for kind in KINDS}
    ratios = {id(row): step_seconds(row.ops, row.device, row.dtype, constants[row.kind]) / row.seconds for row in read}
    said = []
    for row in read:
        if row in here:
            others = fitted([other for other in here if other.kind == row.kind and other is not row])
            said.append(step_seconds(row.ops, row.device, row.dtype, others) / row.seconds)
        else:
            factor = other_factor([ratios[id(other)] for other in read if other not in here and other.source != row.source])
            said.append(ratios[id(row)] * factor)
    return said


def other_factor(ratios: Sequence[float]) -> float:
    """What makes up for predicted over measured on other devices, in the geometric mean."""
    return float(np.exp(-np.mean(np.log(ratios))))


def spread(ratios: Sequence[float]) -> float:
    """The factor that holds so many of the left-out rows, to two decimals up."""
    return float(np.ceil(100 * np.exp(np.quantile(np.abs(np.log(ratios)), INSIDE))) / 100)


def write(read: Sequence[Row], measured_on: str) -> None:
    """Fit on all rows, and write."""
    here = [row for row in read if row.device.id == measured_on]
    there = [row for row in read if row.device.id != measured_on]
    constants = {kind: fitted([row for row in here if row.kind == kind]) for kind in KINDS}
    ratios = [step_seconds(row.ops, row.device, row.dtype, constants[row.kind]) / row.seconds for row in there]
    said = dict(zip(map(id, read), left_out(read, measured_on), strict=True))
    body = {
        "constants": {
            kind: {"products": each.products, "traffic": each.traffic, "scores": each.scores} for kind, each in constants.items()
        },
        "measured_on": measured_on,
        "other": round(other_factor(ratios), 3),
        "spread": {
            "same": spread([said[id(row)] for row in here]),
            "other": max(FEWEST, spread([said[id(row)] for row in there])),
            "borrowed": BORROWED,
        },
    }
    with open(FILE, "w", encoding="utf-8") as stream:
        json.dump(body, stream, indent=1)
        stream.write("\n")


def table(read: Sequence[Row], measured_on: str) -> Table:
    """Each class and device: rows, and how far off those are that were left out."""
    said = left_out(read, measured_on)
    groups: dict[tuple[str, str], list[float]] = {}
    for row, ratio in zip(read, said, strict=True):
        groups.setdefault((KINDS[row.kind], row.device.id), []).append(ratio)
    return Table(
        title="Training on images: rows left out, predicted over measured time",
        columns=[
            Column(key="kind", header="class"),
            Column(key="hardware", header="device"),
            Column(key="rows", header="rows", align="right"),
            Column(key="low", header="least", align="right"),
            Column(key="high", header="most", align="right"),
            Column(key="error", header="mean error", align="right"),
        ],
        rows=[
            {
                "kind": kind,
                "hardware": device,
                "rows": len(ratios),
                "low": f"{min(ratios):.2f}",
                "high": f"{max(ratios):.2f}",
                "error": f"{100 * float(np.mean([abs(ratio - 1) for ratio in ratios])):.1f} %",
            }
            for (kind, device), ratios in groups.items()
        ],
        notes=[
            "A row of the device that the constants are of is predicted by the class's other rows; one of another device by the factor "
            "that the other sources' rows have."
        ],
        key="sample_rates",
    )


def main(words: Sequence[str]) -> int:
    """Write the file, or print the table."""
    measured_on = "rtx-3090-24gb"
    if "--table" in words:
        print(render([table(rows(), measured_on)], "md"))
        return 0
    write(rows(), measured_on)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
