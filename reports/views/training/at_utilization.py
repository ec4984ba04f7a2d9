"""The answer of a training estimate: time, GPU-days, energy and money first, FLOP second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from estimators.counting.conventions import CONVENTIONS
from estimators.spec import Hardware
from estimators.units import (
    DAY_S,
    format_bytes,
    format_days,
    format_duration,
    format_energy,
    format_flop,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
    format_ratio,
)
from reports.table import Column, Table, Value
from reports.views.training.study import COUNTED_BY_6ND, Study, conditions

NO_DEVICES = "give --gpus N for the wall time"
NO_HARDWARE = "name a device with --hardware for time, energy and money"


def _rows(study: Study) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    for run, label in zip(study.runs, study.labels, strict=True):
        row: dict[str, Value] = {
            "scenario": label,
            "utilization_fraction": run.utilization,
            "wall_days": run.wall_s / DAY_S if study.num_devices else None,
            "gpu_days": run.gpu_days,
            "gpu_hours": run.gpu_hours,
            "energy_j": run.energy_j,
        }
        price = study.price
        for bound in ("low", "median", "high"):
            row[f"cost_usd_{bound}"] = getattr(price, bound) * run.gpu_hours if price else None
        rows.append(row)
    return rows


def _columns(study: Study) -> list[Column]:
    one_price = study.price is not None and study.price.low == study.price.high
    costs = [("median", "cost")] if one_price else [("low", "cost, low"), ("median", "median"), ("high", "high")]
    return [
        *([Column(key="scenario", header="")] if len(study.runs) > 1 else []),
        Column(key="utilization_fraction", header="util.", format=format_fraction, align="right"),
        Column(key="wall_days", header="wall time", format=format_days, align="right"),
        Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
        Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
        Column(key="energy_j", header="energy", format=format_energy, align="right"),
        *(Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right") for bound, header in costs),
    ]


def _headline(study: Study, rows: list[dict[str, Value]]) -> str:
    what = f"Training {study.model.name} on {study.work_text}"
    if not rows:
        return f"{what}: {format_flop(study.flop)}"
    middle = study.runs[study.middle]
    gpu_days = f"{format_grouped(middle.gpu_days)} GPU-days"
    money = ""
    if study.price:
        money = f", {'' if study.price.low == study.price.high else 'about '}{format_money(study.price.median * middle.gpu_hours)}"
    about = "about " if len(study.runs) > 1 else ""
    if study.num_devices is None:
        return f"{what}: {about}{gpu_days} of {study.devices_text}{money}"
    return f"{what}: {about}{format_duration(middle.wall_s)} on {study.devices_text} ({gpu_days}{money})"


def missing(study: Study) -> dict[str, str]:
    """Figure -> why it is not there."""
    reasons = {}
    if study.hardware is None:
        return dict.fromkeys(("wall_days", "gpu_days", "gpu_hours", "energy_j", "cost_usd"), NO_HARDWARE)
    if study.num_devices is None:
        reasons["wall_days"] = NO_DEVICES
    if study.hardware.power_w is None:
        reasons["energy_j"] = f"no power limit of {study.hardware.id} is published"
    if study.price is None:
        reasons["cost_usd"] = study.price_reason
    return reasons


def facts(study: Study) -> dict[str, Any]:
    """The answer as single values: at the utilisation given, or at the published median."""
    absent = missing(study)
    values: dict[str, Any] = {
        "model": study.model.name,
        "params": study.params,
        "tokens": study.tokens,
        "seq_len": study.seq_len,
        "convention": study.convention,
        "training_flop": study.flop,
        "training_flop_by_convention": dict(study.training_flop),
    }
    if study.hardware:
        middle = _rows(study)[study.middle]
        values |= {
            "hardware": study.hardware.id,
            "num_devices": study.num_devices,
            "dtype": study.dtype,
            "peak_flop_per_s": study.hardware.peak(study.dtype),
            "utilization_source": study.utilization_source,
            **{key: value for key, value in middle.items() if key != "scenario"},
        }
        if study.price:
            values |= {f"price_usd_per_gpu_hour_{bound}": getattr(study.price, bound) for bound in ("low", "median", "high")}
    return values | ({"unavailable": absent} if absent else {})


def _memory_note(study: Study, hardware: Hardware) -> str:
    """What the training must hold, against what the devices have."""
    least, capacity = math.ceil(study.state_bytes / hardware.memory_bytes), format_bytes(hardware.memory_bytes)
    state = f"memory: weights, gradients, optimizer state and low-precision copies take {format_bytes(study.state_bytes)}"
    if study.num_devices is not None and study.num_devices < least:
        return f"{state}; {format_int(study.num_devices)} x {capacity} cannot hold that, at least {format_int(least)} devices are needed."
    return f"{state}: {'one device' if least == 1 else f'at least {format_int(least)} devices'} of {capacity}, activations on top."


def answer_table(study: Study) -> Table:
    """Time, GPU-days, energy and money, one row per utilisation."""
    rows = _rows(study)
    notes = [f"{figure}: none, {reason}." for figure, reason in missing(study).items()] if study.hardware else [f"{NO_HARDWARE}."]
    if study.hardware:
        notes.append(_memory_note(study, study.hardware))
    if any(run.energy_j for run in study.runs):
        notes.append("energy: the boards alone at their power limit, an upper figure for them; no hosts, network or cooling.")
    if rows:
        notes.append("wall time: at that utilization from start to end; failures and restarts come on top where the share leaves them out.")
    return Table(
        title=_headline(study, rows),
        conditions=conditions(study),
        columns=_columns(study),
        rows=rows,
        notes=notes,
        facts=facts(study),
        key="training",
    )


def flop_table(training_flop: Mapping[str, int], tokens: int, item: str) -> Table:
    """The FLOP of a whole training under every convention, and by 6·N·D."""
    rows: list[dict[str, Value]] = []
    for name, flop in training_flop.items():
        known = CONVENTIONS.get(name)
        rows.append(
            {
                "convention": name,
                "training_flop": flop,
                f"{item}_flop": flop / tokens,
                "ratio": flop / training_flop["full"],
                "includes": known.includes if known else COUNTED_BY_6ND,
                "used_by": known.used_by if known else "Kaplan et al. 2020, GPT-3 paper, Epoch AI",
            }
        )
    return Table(
        title="FLOP of the whole training, by convention",
        columns=[
            Column(key="convention", header="counted"),
            Column(key="training_flop", header="FLOP", format=format_flop, align="right"),
            Column(key=f"{item}_flop", header=f"per {item}", format=format_flop, align="right"),
            Column(key="ratio", header="to full", format=format_ratio, align="right"),
            Column(key="includes", header="includes"),
            Column(key="used_by", header="used by"),
        ],
        rows=rows,
        notes=["One multiply-add is two FLOP. `hardware` is with full activation checkpointing."],
        key="flop",
    )
