"""One table over many records: from 2 parameters to billions, measured and, for what no machine at hand can run, estimated."""

from __future__ import annotations

from collections.abc import Sequence

from bench.record import Measurement
from estimators import units
from reports.crosscheck import crosscheck, failed, rates
from reports.table import Column, Table, Value
from reports.views.measured import headline_s, main_phase

DAYS_PER_YEAR = 365.25

_WHAT = {
    "generate": "generation of {new_tokens} tokens",
    "decode": "decode step",
    "prefill": "prefill of {seq_len} tokens",
    "train": "training step, batch {batch}",
    "estimate": "whole training, {tokens}",
}


def tables(records: Sequence[Measurement]) -> list[Table]:
    """The journey: one row per record, smallest model first; runs that did not end are listed with their reason."""
    ordered = sorted(records, key=lambda r: (r.estimate.get("params", 0), r.created_utc))
    rows = [_row(record) for record in ordered]
    columns = [
        Column(key="model", header="Model"),
        Column(key="params", header="Parameters", format=units.format_count, align="right"),
        Column(key="what", header="What"),
        Column(key="flop", header="FLOP (full)", format=units.format_flop, align="right"),
        Column(key="time_s", header="Time", format=_long_duration, align="right"),
        Column(key="tag", header="Kind"),
        Column(key="items_per_s", header="Items/s", format=units.format_count, align="right"),
        Column(key="mfu_fraction", header="MFU", format=units.format_fraction, align="right"),
        Column(key="matmul_ceiling_fraction", header="of matmul ceiling", format=units.format_fraction, align="right"),
        Column(key="train_loss", header="Train loss", format=_loss, align="right"),
        Column(key="heldout_loss", header="Held-out loss", format=_loss, align="right"),
        Column(key="checks", header="Checks"),
    ]
    used = [c for c in columns if any(row.get(c.key) is not None for row in rows)]
    notes = _notes(ordered)
    return [Table(key="journey", title="The journey", conditions=_conditions(ordered), columns=used, rows=rows, notes=notes)]


def num_failed(records: Sequence[Measurement]) -> int:
    """Checks that do not hold, over all records."""
    return sum(len(failed(crosscheck(record))) for record in records)


def _row(record: Measurement) -> dict[str, Value]:
    asked = record.request
    row: dict[str, Value] = {"model": asked["model"], "params": record.estimate.get("params")}
    sizes = {"batch": asked.get("batch"), "new_tokens": asked.get("new_tokens"), "seq_len": asked.get("seq_len")}
    row["what"] = _WHAT[asked["task"]].format(**sizes, tokens=units.format_count(asked.get("tokens") or 0) + " tokens")
    if asked["task"] == "estimate":
        row |= {"flop": record.estimate["training_flop"], "time_s": record.estimate["time_at_ceiling_s"], "tag": "estimated", "checks": "–"}
        return row
    said = record.estimate.get("phases", {})
    name = {"generate": "generate", "decode": "decode", "prefill": "prefill", "train": "train_step"}[asked["task"]]
    if name in said:
        row["flop"] = said[name]["flop"]["full"]
    head = headline_s(record)
    phase = main_phase(record)
    if head:
        row |= {"time_s": head[0], "tag": head[1]}
        row["items_per_s"] = (phase.items_per_sample if phase else record.extrapolation["items_per_sample"]) / head[0]
    rate = rates(record, phase) if phase else None
    if rate:
        row |= {"mfu_fraction": rate.mfu, "matmul_ceiling_fraction": rate.ceiling_fraction}
    row |= {"train_loss": record.learning.get("train_loss"), "heldout_loss": record.learning.get("heldout_loss")}
    checks = crosscheck(record)
    bad = failed(checks)
    row["checks"] = f"{len(bad)} FAILED" if bad else f"{sum(check.ok is True for check in checks)} ok"
    return row


def _conditions(records: Sequence[Measurement]) -> list[str]:
    devices = sorted({(r.environment.get("device") or {}).get("name", "") for r in records} - {""})
    weights = sorted({f"{r.request['model']}: {r.request['weights_label']}" for r in records if r.request.get("weights_label")})
    dtypes = sorted({f"{r.request['model']}: {r.request['dtype']}" for r in records if r.request.get("dtype")})
    lines = [f"on {', '.join(devices)}"] if devices else []
    lines.append("FLOP under `full`: whole attention square, no recomputation; a ceiling is a rate measured on the machine just before")
    if len({line.split(": ")[1] for line in dtypes}) > 1:
        lines.append("dtype " + ", ".join(dtypes))
    elif dtypes:
        lines.append(f"dtype {dtypes[0].split(': ')[1]}")
    if weights:
        lines.append("weights " + "; ".join(weights))
    return lines


def _notes(records: Sequence[Measurement]) -> list[str]:
    notes = []
    data = sorted({str(r.learning["data"]) for r in records if r.learning.get("data")})
    if data:
        notes.append("Data: " + "; ".join(data))
    units_of_loss = {str(r.learning["loss_unit"]) for r in records if r.learning.get("loss_unit")}
    if units_of_loss:
        notes.append("Loss: " + "; ".join(sorted(units_of_loss)))
    for record in records:
        if record.request["task"] == "estimate":
            notes.append(f"{record.request['model']}: {record.estimate['note']}")
        if record.status != "complete":
            notes.append(f"{record.request['model']} ({record.run_id}): {record.status}, {record.status_reason}")
        for check in failed(crosscheck(record)):
            notes.append(f"{record.request['model']}: FAILED {check.metric}: {check.explanation or 'see its record'}")
    return notes


def _long_duration(seconds: float) -> str:
    years = seconds / units.DAY_S / DAYS_PER_YEAR
    return f"{units.format_count(years)} years" if years >= 2 else units.format_duration(seconds)


def _loss(value: float) -> str:
    return f"{value:.4g}"
