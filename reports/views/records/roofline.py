"""The roofline of one step as a table: classes of operator against what the device allows."""

from __future__ import annotations

from bench.records.record import Measurement
from estimators import units
from reports.roofline import Roofline, roofline
from reports.table import Column, Table, Value

MARGIN = 4.0
"""How far the picture reaches beyond its points, as a factor."""


def roofline_table(record: Measurement) -> Table:
    """One row for each class; without rows, and a note that says why, where the record does not hold what it needs."""
    found = roofline(record)
    columns = [
        Column(key="class", header="Class"),
        Column(key="flop", header="FLOP", format=units.format_flop, align="right", kind="derived"),
        Column(key="flop_per_byte", header="FLOP/byte", format=units.format_grouped, align="right", kind="derived"),
        Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
        Column(key="flop_per_s", header="FLOP/s", format=units.format_flop_rate, align="right"),
        Column(key="roof_fraction", header="of the measured roof", format=units.format_fraction, align="right"),
        Column(key="tag", header="Kind"),
    ]
    title = "Roofline by class of operator"
    if isinstance(found, str):
        return Table(key="roofline", title=title, conditions=[record.request.model], columns=columns, rows=[], notes=[f"None: {found}."])
    measured = next((roof for roof in found.roofs if roof.name == "measured"), None)
    rows: list[dict[str, Value]] = [
        {
            "class": point.name,
            "flop": point.flop,
            "flop_per_byte": point.flop_per_byte,
            "seconds_s": point.seconds_s,
            "flop_per_s": point.flop_per_s,
            "roof_fraction": point.flop_per_s / min(measured.flop_per_s, measured.bytes_per_s * point.flop_per_byte) if measured else None,
            "tag": point.tag,
        }
        for point in found.points
    ]
    across = [*(point.flop_per_byte for point in found.points), *(roof.flop_per_s / roof.bytes_per_s for roof in found.roofs)]
    low, high = min(across) / MARGIN, max(across) * MARGIN
    return Table(
        key="roofline",
        title=f"{title} ({found.phase})",
        conditions=[record.request.model, "FLOP under `full`; FLOP/byte of a forward pass, each operator's inputs and outputs moved once"],
        columns=[column for column in columns if any(row[column.key] is not None for row in rows)],
        rows=rows,
        notes=list(_notes(found)),
        facts={"roofs": {roof.name: roof.corners(low, high) for roof in found.roofs}},
    )


def _notes(found: Roofline) -> list[str]:
    notes = [
        f"{roof.name} roof: {units.format_flop_rate(roof.flop_per_s)} and {units.format_byte_rate(roof.bytes_per_s)}"
        for roof in found.roofs
    ]
    if not any(roof.name == "datasheet" for roof in found.roofs):
        notes.append("datasheet roof: none, because this device has no published peak here")
    if any(point.tag == "estimated" for point in found.points):
        notes.append("estimated: the calibration's time of the class, before the step ran")
    notes.append("Memory-bound operators, the optimizer and the host multiply nothing: their time is in the waterfall.")
    return notes
