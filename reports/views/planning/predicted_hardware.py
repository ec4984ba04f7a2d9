"""One predicted training on several kinds of device: layout, throughput, days with their interval, money, energy, fits or not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimators.frozen import frozen
from estimators.spec import Hardware
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
from reports.views.training.predicted import BOUNDS, PredictedStudy, figures
from reports.views.training.step_ledger import rate_facts
from reports.views.training.study import convention_line, price_text


@frozen
class Rival:
    """One kind of device: what is predicted on it, or the reason why nothing is."""

    hardware: Hardware
    asked: PredictedStudy | None = None
    reason: str = ""


def fastest_first(rivals: Sequence[Rival]) -> list[Rival]:
    """By wall time, or by device time where the number of devices was chosen; then what does not fit, then what has no answer."""

    def key(rival: Rival) -> tuple[int, float]:
        if rival.asked is None:
            return 2, math.inf
        run = rival.asked.run
        return (0 if run.fits else 1), run.gpu_hours if run.devices_chosen else run.wall_s

    return sorted(rivals, key=key)


def _row(rival: Rival) -> dict[str, Value]:
    row: dict[str, Value] = {"hardware": rival.hardware.id, "fits": None, "reason": rival.reason or None}
    if rival.asked is None:
        return row
    run = rival.asked.run
    p = run.prediction
    row |= {
        "num_devices": p.layout.num_devices,
        "layout": str(p.layout),
        "global_batch": p.layout.global_batch,
        "needed_bytes": run.needed_bytes,
        "memory_bytes": rival.hardware.memory_bytes,
        "fits": run.fits,
        "step_time_s": p.step_time_s,
        **rate_facts(p),
        **figures(rival.asked, run.wall_s),
        "days_low": figures(rival.asked, run.low_s)["wall_days"],
        "days_high": figures(rival.asked, run.high_s)["wall_days"],
        "assumed": "; ".join(p.notes),
    }
    return row


def _costs(asked: Sequence[PredictedStudy]) -> list[Column]:
    given = all(a.study.price is not None and a.study.price.low == a.study.price.high for a in asked)
    headers = {"low": "cost, from", "median": "cost", "high": "to"}
    raw = ("low", "high") if given else ("median",)
    return [
        Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right", raw=bound in raw)
        for bound, header in headers.items()
    ]


def comparison_table(rivals: Sequence[Rival]) -> Table:
    """Every device has a row, fastest first.

    Args:
        rivals: at least one with an answer.
    """
    ordered = fastest_first(rivals)
    answered = [rival.asked for rival in ordered if rival.asked]
    first = answered[0]
    study, p = first.study, first.run.prediction
    refused = [rival for rival in ordered if rival.reason]
    hidden = ("global_batch", "needed_bytes", "memory_bytes", "mfu_causal_fraction", "hfu_fraction", "tokens_per_s", "co2_kg", "assumed")
    chosen = first.run.devices_chosen
    each = "on the fewest of each kind that hold it" if chosen else f"{format_int(p.layout.num_devices)} of each kind"
    return Table(
        title=f"Training {study.model.name} on {study.work_text}, {each}, predicted",
        conditions=[
            f"{study.model.name}: {format_int(study.params)} parameters; {format_int(study.tokens)} tokens in sequences of "
            f"{format_int(study.seq_len)}, {study.dtype}",
            convention_line("full"),
            f"software {p.stack.id}: {p.stack.name}",
            f"batch of a step: {format_int(p.tokens_per_step)} tokens on {p.hardware.id}"
            + (f", {first.run.batch_source}" if first.run.batch_source else ""),
        ],
        columns=[
            Column(key="hardware", header="device"),
            Column(key="num_devices", header="GPUs", format=format_int, align="right", raw=not chosen),
            Column(key="fits", header="fits"),
            Column(key="step_time_s", header="step", format=format_duration, align="right"),
            Column(key="tokens_per_s_per_device", header="tokens/s/GPU", format=format_grouped, align="right"),
            Column(key="mfu_full_fraction", header="MFU", format=format_fraction, align="right"),
            Column(key="wall_days", header="time", format=format_days, align="right"),
            Column(key="days_low", header="80 %, from", format=format_days, align="right"),
            Column(key="days_high", header="to", format=format_days, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right", raw=not chosen),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right", raw=True),
            Column(key="energy_j", header="energy", format=format_energy, align="right"),
            *_costs(answered),
            Column(key="layout", header="layout"),
            *(Column(key=key, header=key, format=_FORMATS.get(key), raw=True) for key in hidden),
            Column(key="reason", header="reason", raw=True),
        ],
        rows=[_row(rival) for rival in ordered],
        notes=_notes(answered, refused),
        facts={
            "model": study.model.name,
            "params": study.params,
            "tokens": study.tokens,
            "seq_len": study.seq_len,
            "num_devices": None if chosen else p.layout.num_devices,
            "software": p.stack.id,
            **{f"allowance_{bound}_fraction": getattr(first.run.allowance, bound) for bound in BOUNDS},
        },
        key="training",
    )


_FORMATS = {"needed_bytes": format_bytes, "memory_bytes": format_bytes, "co2_kg": format_mass}


def _notes(answered: Sequence[PredictedStudy], refused: Sequence[Rival]) -> list[str]:
    added = answered[0].run.allowance
    power = answered[0].power
    notes = [f"{rival.hardware.id}: none, {rival.reason}." for rival in refused]
    assumed: dict[str, list[str]] = {}
    for prediction in (a.run.prediction for a in answered):
        for note in prediction.notes:
            assumed.setdefault(note.replace(f" of {prediction.hardware.id}", ""), []).append(prediction.hardware.id)
    notes += [f"{', '.join(devices)}: {note.removeprefix(f'{devices[0]} ')}." for note, devices in assumed.items()]
    notes += [
        f"price of {a.run.prediction.hardware.id}: {price_text(a.study.price)}, {a.study.price.source}" for a in answered if a.study.price
    ]
    notes.append(f"energy: the boards alone at {format_fraction(power.value, 2)} of their power limit ({power.source.title}).")
    notes.append(
        f"time: steady steps; published whole runs added {format_fraction(added.low, 2)} to {format_fraction(added.high, 2)}, "
        f"{format_fraction(added.median, 2)} in the middle."
    )
    return notes
