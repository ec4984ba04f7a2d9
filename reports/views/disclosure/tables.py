"""A disclosure as tables: totals by standing, the experiments, energy by part, factors, thresholds."""

from __future__ import annotations

from typing import Any

from estimators.disclosure.disclosure import NOT_ADVICE, Disclosure
from estimators.disclosure.experiment import ENERGY_KINDS, EnergyKind
from estimators.disclosure.totals import Total
from estimators.units import (
    HOUR_S,
    KILO,
    format_duration,
    format_flop,
    format_fraction,
    format_grouped,
    format_signed_fraction,
    format_small_mass,
    format_watt_hours,
    plural,
)
from reports.table import Column, Table, Value
from reports.views.disclosure import words

KEYS: dict[EnergyKind, str] = {"measured": "measured", "estimated": "estimated", "not stated": "not_stated"}
"""Kind of energy -> what its columns are called."""


def disclosure_tables(disclosure: Disclosure) -> list[Table]:
    """All of it; the first has the totals, and in json every single value."""
    tables = [totals_table(disclosure), experiments_table(disclosure), energy_table(disclosure), factors_table(disclosure)]
    if any(each.trains for each in disclosure.experiments):
        tables.append(thresholds_table(disclosure))
    return tables


def totals_table(disclosure: Disclosure) -> Table:
    """One row for each standing, and the sum of all."""
    totals = [*disclosure.totals, disclosure.total]
    kinds = [kind for kind in ENERGY_KINDS if kind != "not stated" or kind in disclosure.kinds]
    columns = [
        Column(key="standing", header="Experiments"),
        Column(key="num_experiments", header="Number", align="right"),
        Column(key="device_hours", header="Device hours", format=format_grouped, align="right"),
        Column(key="architecture_flop", header="FLOP by architecture", format=format_flop, align="right"),
        Column(key="device_time_flop", header="by device time", format=format_flop, align="right"),
        Column(key="difference_fraction", header="Difference", format=lambda share: format_signed_fraction(share, 1), align="right"),
    ]
    for kind in kinds:
        columns.append(Column(key=f"energy_{KEYS[kind]}_j", header=f"Energy, {kind}", format=format_watt_hours, align="right"))
    for kind in kinds:
        columns.append(Column(key=f"carbon_{KEYS[kind]}_kg", header=f"CO2e, {kind}", format=format_small_mass, align="right"))
    columns.append(Column(key="num_unmetered", header="Unmetered", align="right"))
    return Table(
        key="totals",
        title=title(disclosure),
        conditions=[f"Energy: {words.energy_words(disclosure)}", f"CO2e: {words.factor_words(disclosure)}"],
        columns=columns,
        rows=[_total_row(disclosure, total) for total in totals],
        notes=notes(disclosure),
        facts=facts(disclosure),
    )


def title(disclosure: Disclosure) -> str:
    """The answer in a sentence."""
    total = disclosure.total
    return f"{plural(len(total.experiments), 'experiment')}: {words.hours_words(total)}; {words.compute_words(total)}"


def notes(disclosure: Disclosure) -> list[str]:
    """What a reader has to know beside the figures."""
    said = [words.device_time_words(disclosure.total), words.window_words(disclosure.total), *disclosure.remarks]
    said += [f"left out: {line}" for line in disclosure.left_out]
    said.append("Sums are of what is known; a figure that is not known is in none, and its experiments are counted as without it.")
    if len(disclosure.kinds) > 1:
        said.append("Measured and estimated energy are not added up here.")
    return list(filter(None, said))


def facts(disclosure: Disclosure) -> dict[str, Any]:
    """Single values, those of all experiments."""
    total, grid = disclosure.total, disclosure.setting.grid
    found: dict[str, Any] = {
        **{key: value for key, value in _total_row(disclosure, total).items() if key != "standing"},
        "training_type": disclosure.training_type or None,
        "hardware_used": words.hardware_words(disclosure),
        "location": grid.name if grid.code else None,
        "carbon_kg_per_j": grid.carbon.value,
        "carbon_year": grid.year,
        "carbon_source": str(grid.carbon.source),
        "pue": disclosure.setting.pue,
        "left_out": list(disclosure.left_out),
    }
    missing = {
        "device_hours": total.device_s,
        "architecture_flop": total.architecture_flop,
        "device_time_flop": total.device_time_flop,
        "energy_measured_j": total.energy("measured"),
    }
    unavailable = {name: "; ".join(found.reasons) or "no training among them" for name, found in missing.items() if found.value is None}
    if disclosure.setting.pue is None:
        unavailable["pue"] = "not given; nothing of the building is in any figure"
    return {**found, "unavailable": unavailable}


def _total_row(disclosure: Disclosure, total: Total) -> dict[str, Value]:
    row: dict[str, Value] = {
        "standing": total.standing or "all",
        "num_experiments": len(total.experiments),
        "device_hours": None if total.device_s.value is None else total.device_s.value / HOUR_S,
        "architecture_flop": total.architecture_flop.value,
        "device_time_flop": total.device_time_flop.value,
        "difference_fraction": total.difference_fraction,
        "num_unmetered": total.num_unmetered,
    }
    for kind in ENERGY_KINDS:
        row[f"energy_{KEYS[kind]}_j"] = total.energy(kind).value
        row[f"carbon_{KEYS[kind]}_kg"] = disclosure.carbon_kg(kind, total)
    return row


def experiments_table(disclosure: Disclosure) -> Table:
    """One row for each experiment."""
    kinds = [kind for kind in ENERGY_KINDS if kind in disclosure.kinds]
    rows: list[dict[str, Value]] = []
    for each in disclosure.experiments:
        row: dict[str, Value] = {
            "name": each.name,
            "model": each.model,
            "work": each.work,
            "standing": each.standing + (f": {each.why}" if each.why else ""),
            "device": each.device,
            "num_devices": each.num_devices,
            "device_hours": None if each.device_s is None else each.device_s / HOUR_S,
            "architecture_flop": each.architecture_flop,
            "device_time_flop": each.device_time_flop,
            "reached_fraction": each.reached_share,
            "unavailable": "; ".join(f"{field}: {why}" for field, why in each.unavailable),
        }
        rows.append(row | {f"energy_{KEYS[kind]}_j": each.energy_j(kind) for kind in kinds})
    return Table(
        key="experiments",
        title="Experiment by experiment",
        columns=[
            Column(key="name", header="Experiment", raw=len(rows) > 1 and any(each.name != each.model for each in disclosure.experiments)),
            Column(key="model", header="Model"),
            Column(key="work", header="Work"),
            Column(key="standing", header="Ended"),
            Column(key="device", header="Device"),
            Column(key="num_devices", header="Devices", align="right"),
            Column(key="device_hours", header="Device hours", format=_hours, align="right"),
            Column(key="architecture_flop", header="FLOP by architecture", format=format_flop, align="right"),
            Column(key="device_time_flop", header="by device time", format=format_flop, align="right"),
            Column(key="reached_fraction", header="Of peak", format=format_fraction, align="right"),
            *(Column(key=f"energy_{KEYS[kind]}_j", header=f"Energy, {kind}", format=format_watt_hours, align="right") for kind in kinds),
            Column(key="unavailable", header="unavailable", raw=True),
        ],
        rows=rows,
        notes=[
            "FLOP are full: every matrix product, the whole attention square. Device time is of timed phases, loading and warm-up in it."
        ],
    )


def _hours(hours: float) -> str:
    return format_duration(hours * HOUR_S)


def energy_table(disclosure: Disclosure) -> Table:
    """Energy by part of the machine and by how it is known; where nothing was read, why."""
    sums: dict[tuple[str, str, str], list[float | None]] = {}
    windows: dict[tuple[str, str, str], float] = {}
    for each in disclosure.experiments:
        for energy in each.energies:
            known = "unavailable" if energy.energy_j is None else energy.kind
            key = (energy.part, known, energy.source)
            sums.setdefault(key, []).append(energy.energy_j)
            windows[key] = windows.get(key, 0.0) + (energy.window_s or 0.0)
    rows: list[dict[str, Value]] = [
        {
            "part": part,
            "tag": known,
            "num_experiments": len(values),
            "energy_j": sum(value for value in values if value is not None) if known != "unavailable" else None,
            "window_s": windows[part, known, source] or None,
            "source": source,
        }
        for (part, known, source), values in sums.items()
    ]
    return Table(
        key="energy",
        title="Energy by part of the machine, at the devices",
        columns=[
            Column(key="part", header="Part"),
            Column(key="tag", header="Kind"),
            Column(key="num_experiments", header="Experiments", align="right"),
            Column(key="energy_j", header="Energy", format=format_watt_hours, align="right"),
            Column(key="window_s", header="Covers", format=format_duration, align="right"),
            Column(key="source", header="By, or why not"),
        ],
        rows=rows,
        notes=["A meter covers the window that is named: warm-up, loading and what lies between may be outside of it."],
    )


def factors_table(disclosure: Disclosure) -> Table:
    """What the CO2 was worked out with."""
    setting = disclosure.setting
    rows: list[dict[str, Value]] = [
        {
            "what": "CO2e of a kWh",
            "value": f"{setting.grid.carbon.value * KILO * KILO * HOUR_S:.4g} g",
            "year": setting.grid.year,
            "of": setting.grid.name,
            "source": str(setting.grid.carbon.source),
        },
        {
            "what": "PUE",
            "value": f"{setting.pue:g}" if setting.pue else None,
            "year": None,
            "of": "the building",
            "source": setting.pue_source or "not given: nothing of the building is in any figure",
        },
    ]
    return Table(
        key="factors",
        title="CO2e = energy at the devices x PUE x factor",
        columns=[
            Column(key="what", header="Factor"),
            Column(key="value", header="Value", align="right"),
            Column(key="year", header="Year", align="right"),
            Column(key="of", header="Of"),
            Column(key="source", header="Source"),
        ],
        rows=rows,
    )


def thresholds_table(disclosure: Disclosure) -> Table:
    """Where the training compute of all experiments stands to the thresholds of the EU's AI Act."""
    original = disclosure.original
    rows: list[dict[str, Value]] = [
        {
            "threshold": each.threshold.id,
            "amount_flop": each.amount_flop,
            "architecture_ratio": each.by_architecture,
            "device_time_ratio": each.by_device_time,
            "passed": "unavailable" if each.is_passed is None else "yes" if each.is_passed else "no",
            "role": each.threshold.role,
            "applies_to": each.threshold.applies_to,
            "meaning": each.threshold.meaning,
            "date": each.threshold.date,
            "confidence": each.threshold.confidence,
            "source": str(each.threshold.source),
        }
        for each in disclosure.against
    ]
    of = f"original's training compute: {format_flop(original.flop)} ({original.source})" if original else ""
    return Table(
        key="thresholds",
        title="Training compute against thresholds of the EU AI Act",
        conditions=[NOT_ADVICE],
        columns=[
            Column(key="threshold", header="Threshold"),
            Column(key="amount_flop", header="FLOP", format=lambda flop: f"{flop:.3g}", align="right"),
            Column(key="architecture_ratio", header="By architecture", format=lambda share: f"{share:.2g} x", align="right"),
            Column(key="device_time_ratio", header="By device time", format=lambda share: f"{share:.2g} x", align="right"),
            Column(key="passed", header="Passed"),
            Column(key="role", header="For a"),
            Column(key="applies_to", header="Applies to"),
            Column(key="meaning", header="Means"),
            Column(key="date", header="Date"),
            Column(key="confidence", header="Sure"),
            Column(key="source", header="Source"),
        ],
        rows=rows,
        notes=list(
            filter(
                None,
                [
                    of or "The original's training compute is not known: --base-flop says it. A third of it is then no figure.",
                    "FLOP are amounts, whatever the precision; several pages on the law write FLOPS, per second, and mean the amount.",
                    "The compute is of the experiments above alone: what else went into the model is not known here.",
                ],
            )
        ),
    )
