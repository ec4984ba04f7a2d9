"""Memory over a step, as far as a record knows: what lies between steps, what the fullest moment needs, and the peaks that were read."""

from __future__ import annotations

from bench.records.record import Measurement
from estimators import units
from reports.table import Column, Table, Value
from reports.views.records.measured import HELD_BY

PASSING = ("gradients", "activations", "logits_and_loss", "low_precision_copies", "recomputed", "logits")
"""Parts that come and go within a step; the others lie from step to step."""

BETWEEN, FULLEST = "between steps", "at its fullest"


def step_memory_table(record: Measurement) -> Table:
    """A row for each part at each moment, then one for each instrument; none of a record without either."""
    parts = record.estimate.memory_bytes
    said = [
        *((BETWEEN, name, size) for name, size in parts.items() if name not in PASSING and any(other in PASSING for other in parts)),
        *((FULLEST, name, size) for name, size in parts.items()),
    ]
    rows: list[dict[str, Value]] = [
        {"moment": moment, "part": name.replace("_", " "), "bytes": size, "tag": "estimated", "what": ""} for moment, name, size in said
    ]
    rows += [
        {
            "moment": instrument.replace("_", " "),
            "part": "peak that was read",
            "bytes": size,
            "tag": "measured",
            "what": HELD_BY.get(instrument, ""),
        }
        for instrument, size in record.memory_bytes.items()
        if size is not None
    ]
    device = record.environment.device
    return Table(
        key="step_memory",
        title="Memory over the step",
        conditions=[record.request.model],
        columns=(
            Column(key="moment", header="When, or by which instrument", once=True),
            Column(key="part", header="Part"),
            Column(key="bytes", header="Bytes", format=units.format_bytes, align="right"),
            Column(key="tag", header="Kind"),
            Column(key="what", header="What it sees"),
        ),
        rows=rows,
        notes=["A record holds peaks and no course over time: when within a step memory rises was not measured, nor which part it was."],
        facts={"device_memory_bytes": device.memory_total_bytes if device else None},
    )
