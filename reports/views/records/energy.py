"""Energy by phase as a table: gross and net, for all of it and for one token."""

from __future__ import annotations

from bench.records.record import Measurement
from estimators import units
from reports.energy import phase_energies
from reports.table import Column, Table, Value


def energy_table(record: Measurement) -> Table:
    """One row for each phase and instrument; no rows where no counter was read."""
    energies = list(phase_energies(record))
    rows: list[dict[str, Value]] = [
        {
            "phase": each.phase,
            "instrument": each.instrument,
            "window_s": each.window_s,
            "energy_j": each.energy_j,
            "net_energy_j": each.net_j,
            "per_item_j": each.per_item_j,
            "net_per_item_j": each.net_per_item_j,
            "items_per_j": 1 / each.per_item_j if each.energy_j else None,
            "item": each.item,
            "tag": "measured, window too short" if each.is_short else "measured",
        }
        for each in energies
    ]
    item = energies[0].item if energies else "token"
    notes = ["Net: less the idle power read before the run, over the window. Instruments are never added up."]
    if energies and all(each.net_j is None for each in energies):
        notes = ["No net energy: no idle power was read, or it says more than the phase used."]
    if any(each.phase == "generate" for each in energies):
        notes.append("A generation's prefill is too short for the counter; --task prefill and --task decode give joules for each apart.")
    return Table(
        key="energy",
        title="Energy of the steady samples",
        columns=(
            Column(key="phase", header="Phase"),
            Column(key="instrument", header="By"),
            Column(key="window_s", header="Window", format=units.format_duration, align="right"),
            Column(key="energy_j", header="Gross", format=units.format_energy, align="right"),
            Column(key="net_energy_j", header="Net", format=units.format_energy, align="right"),
            Column(key="per_item_j", header=f"Gross per {item}", format=units.format_energy, align="right"),
            Column(key="net_per_item_j", header=f"Net per {item}", format=units.format_energy, align="right"),
            Column(key="items_per_j", header=f"{item}s per J", raw=True),
            Column(key="item", header="item", raw=True),
            Column(key="tag", header="Kind"),
        ),
        rows=rows,
        notes=notes if rows else [],
    )
