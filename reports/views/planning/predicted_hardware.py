"""One predicted training on several kinds of device: layout, throughput, days with their interval, money, energy, fits or not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimators.facts.goodput import run_factor
from estimators.spec import Workload
from estimators.training.answer import OnDevice, PredictedAnswer
from estimators.units import (
    format_bytes,
    format_days,
    format_duration,
    format_energy,
    format_fraction,
    format_grouped,
    format_int,
    format_mass,
    format_money,
)
from reports.table import Column, Table, Value
from reports.views.planning.marks import BEATEN_BY, with_beaten
from reports.views.training import track_record
from reports.views.training.conditions import convention_line, device_lines, length_source, price_text, scope_lines
from reports.views.training.predicted import BOUNDS, factor_text, figures, software_lines
from reports.views.training.step_ledger import rate_facts


def fastest_first(devices: Sequence[OnDevice[PredictedAnswer]]) -> list[OnDevice[PredictedAnswer]]:
    """By wall time, or by device time where the number of devices was chosen; then what does not fit, then what has no answer."""

    def key(device: OnDevice[PredictedAnswer]) -> tuple[int, float]:
        if device.answer is None:
            return 2, math.inf
        run = device.answer.run
        return (0 if run.fits else 1), run.gpu_hours if run.devices_chosen else run.wall_s

    return sorted(devices, key=key)


def _row(device: OnDevice[PredictedAnswer]) -> dict[str, Value]:
    row: dict[str, Value] = {"hardware": device.hardware.id, "fits": None, "reason": device.reason or None}
    if device.answer is None:
        return row
    run = device.answer.run
    p = run.prediction
    row |= {
        "num_devices": p.layout.num_devices,
        "layout": str(p.layout),
        "global_batch": p.layout.global_batch,
        "needed_bytes": run.needed_bytes,
        "memory_bytes": device.hardware.memory_bytes,
        "fits": run.fits,
        "step_time_s": p.step_time_s,
        **rate_facts(p),
        **figures(device.answer, run.wall_s),
        "days_low": figures(device.answer, run.low_s)["wall_days"],
        "days_high": figures(device.answer, run.high_s)["wall_days"],
        "assumed": "; ".join(p.notes),
        **track_record.cells("device", device.hardware.id),
    }
    return row


def _costs(asked: Sequence[PredictedAnswer]) -> list[Column]:
    given = all(a.training.price is not None and a.training.price.low == a.training.price.high for a in asked)
    headers = {"low": "cost, from", "median": "cost", "high": "to"}
    raw = ("low", "high") if given else ("median",)
    return [
        Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right", raw=bound in raw)
        for bound, header in headers.items()
    ]


def comparison_table(devices: Sequence[OnDevice[PredictedAnswer]]) -> Table:
    """Every device has a row, fastest first.

    Args:
        devices: at least one with an answer.
    """
    ordered = fastest_first(devices)
    answered = [device.answer for device in ordered if device.answer]
    first = answered[0]
    training, p = first.training, first.run.prediction
    refused = [device for device in ordered if device.reason]
    hidden = ("global_batch", "needed_bytes", "memory_bytes", *SHARES, "tokens_per_s", "co2_kg", "assumed")
    chosen = first.run.devices_chosen
    each = "on the fewest of each kind that hold it" if chosen else f"{format_int(p.layout.num_devices)} of each kind"
    return Table(
        title=f"Training {training.model.name} on {training.work_text}, {each}, predicted",
        conditions=[
            f"{training.model.name}: {format_int(training.params)} parameters; {format_int(training.tokens)} tokens in sequences of "
            f"{format_int(training.seq_len)}{length_source(training.seq_len_source)}, {training.dtype}",
            *(convention_line(name) for name in dict.fromkeys(a.run.prediction.convention for a in answered)),
            *scope_lines(training.model, Workload(phase="train", seq_len=training.seq_len)),
            *software_lines(p),
            f"batch of a step: {format_int(p.tokens_per_step)} tokens on {p.hardware.id}"
            + (f", {first.run.batch_source}" if first.run.batch_source else ""),
            *training.layout_notes,
        ],
        columns=[
            Column(key="hardware", header="device"),
            Column(key="num_devices", header="GPUs", format=format_int, align="right", raw=not chosen),
            Column(key="fits", header="fits"),
            Column(key="step_time_s", header="step", format=format_duration, align="right"),
            Column(key="tokens_per_s_per_device", header="tokens/s/GPU", format=format_grouped, align="right"),
            Column(key="mfu_fraction", header="MFU", format=format_fraction, align="right"),
            Column(key="wall_days", header="time", format=format_days, align="right"),
            Column(key="days_low", header="80 %, from", format=format_days, align="right"),
            Column(key="days_high", header="to", format=format_days, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right", raw=not chosen),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right", raw=True),
            Column(key="energy_j", header="energy", format=format_energy, align="right"),
            *_costs(answered),
            Column(key="layout", header="layout"),
            *track_record.COLUMNS,
            BEATEN_BY,
            *(Column(key=key, header=key, format=_FORMATS.get(key), raw=True) for key in hidden),
            Column(key="reason", header="reason", raw=True),
        ],
        rows=with_beaten([_row(device) for device in ordered], time="gpu_days" if chosen else "wall_days", cost="cost_usd_median"),
        notes=_notes(answered, refused),
        facts={
            "model": training.model.name,
            "params": training.params,
            "tokens": training.tokens,
            "seq_len": training.seq_len,
            "num_devices": None if chosen else p.layout.num_devices,
            "software": p.stack.id,
            **{f"run_factor_{bound}": getattr(run_factor(), bound) for bound in BOUNDS},
        },
        key="training",
        kind="estimated",
    )


SHARES = ("mfu_convention", "mfu_full_fraction", "mfu_causal_fraction", "hfu_fraction")
_FORMATS = {"needed_bytes": format_bytes, "memory_bytes": format_bytes, "co2_kg": format_mass}


def _notes(answered: Sequence[PredictedAnswer], refused: Sequence[OnDevice[PredictedAnswer]]) -> list[str]:
    power = answered[0].power
    notes = [f"{device.hardware.id}: none, {device.reason}." for device in refused]
    assumed: dict[str, list[str]] = {}
    for prediction in (a.run.prediction for a in answered):
        for note in prediction.notes:
            assumed.setdefault(note.replace(f" of {prediction.hardware.id}", ""), []).append(prediction.hardware.id)
    notes += [f"{', '.join(devices)}: {note.removeprefix(f'{devices[0]} ')}." for note, devices in assumed.items()]
    notes += device_lines(a.run.prediction.hardware for a in answered)
    notes += [
        f"price of {a.run.prediction.hardware.id}: {price_text(a.training.price)}, {a.training.price.source}"
        for a in answered
        if a.training.price
    ]
    notes.append(f"energy: the boards alone at {format_fraction(power.value, 2)} of their power limit ({power.source.title}).")
    notes.append(f"time: steady steps; {factor_text()}.")
    return notes
