"""The answer of a training estimate: time, GPU-days, energy and money first, FLOP second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from estimators.counting.conventions import CONVENTIONS
from estimators.samples import Audio
from estimators.spec import Hardware
from estimators.training.answer import TrainingAnswer
from estimators.training.shares import BOUND
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
from reports.views.training.conditions import COUNTED_BY_6ND, conditions

NO_DEVICES = "give --gpus N for the wall time"
WALL_TIME = "wall time: at that utilization from start to end; failures and restarts come on top where the share leaves them out."
NO_HARDWARE = "name a device with --hardware for time, energy and money"


def _rows(training: TrainingAnswer) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    for run, label in zip(training.runs, training.labels, strict=True):
        row: dict[str, Value] = {
            "scenario": label,
            "utilization_fraction": run.utilization,
            "wall_days": run.wall_s / DAY_S if training.num_devices else None,
            "gpu_days": run.gpu_days,
            "gpu_hours": run.gpu_hours,
            "energy_j": run.energy_j,
        }
        price = training.price
        for bound in ("low", "median", "high"):
            row[f"cost_usd_{bound}"] = getattr(price, bound) * run.gpu_hours if price else None
        rows.append(row)
    return rows


def _columns(training: TrainingAnswer) -> list[Column]:
    one_price = training.price is not None and training.price.low == training.price.high
    costs = [("median", "cost")] if one_price else [("low", "cost, low"), ("median", "median"), ("high", "high")]
    return [
        *([Column(key="scenario", header="")] if len(training.runs) > 1 else []),
        Column(key="utilization_fraction", header="util.", format=format_fraction, align="right"),
        Column(key="wall_days", header="wall time", format=format_days, align="right"),
        Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
        Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
        Column(key="energy_j", header="energy", format=format_energy, align="right"),
        *(Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right") for bound, header in costs),
    ]


def how_sure(training: TrainingAnswer) -> str:
    """What stands before the figures: a median of published runs is about right, a bound at least."""
    return "about " if len(training.runs) > 1 else "at least " if training.labels == (BOUND,) else ""


def _headline(training: TrainingAnswer, rows: list[dict[str, Value]]) -> str:
    what = f"Training {training.model.name} on {training.work_text}"
    if not rows:
        return f"{what}: {format_flop(training.flop)}"
    middle = training.runs[training.middle]
    gpu_days = f"{format_grouped(middle.gpu_days)} GPU-days"
    money = ""
    if training.price:
        money = f", {'' if training.price.low == training.price.high else 'about '}{format_money(training.price.median * middle.gpu_hours)}"
    about = how_sure(training)
    if training.num_devices is None:
        return f"{what}: {about}{gpu_days} of {training.devices_text}{money}"
    return f"{what}: {about}{format_duration(middle.wall_s)} on {training.devices_text} ({gpu_days}{money})"


def missing(training: TrainingAnswer) -> dict[str, str]:
    """Figure -> why it is not there."""
    reasons = {}
    if training.hardware is None:
        return dict.fromkeys(("wall_days", "gpu_days", "gpu_hours", "energy_j", "cost_usd"), NO_HARDWARE)
    if training.num_devices is None:
        reasons["wall_days"] = NO_DEVICES
    if training.hardware.power_w is None:
        reasons["energy_j"] = f"no power limit of {training.hardware.id} is published"
    if training.price is None:
        reasons["cost_usd"] = training.price_reason
    return reasons


def facts(training: TrainingAnswer) -> dict[str, Any]:
    """The answer as single values: at the utilisation given, or at the published median."""
    absent = missing(training)
    values: dict[str, Any] = {
        "model": training.model.name,
        "params": training.params,
        "tokens": training.tokens,
        "seq_len": training.seq_len,
        "convention": training.convention,
        "training_flop": training.flop,
        "training_flop_by_convention": dict(training.training_flop),
    }
    if training.hardware:
        middle = _rows(training)[training.middle]
        values |= {
            "hardware": training.hardware.id,
            "num_devices": training.num_devices,
            "dtype": training.dtype,
            "peak_flop_per_s": training.hardware.peak(training.dtype),
            "utilization_source": training.utilization_source,
            **({"samples_per_s_per_device": _per_device_s(training)} if training.model.sample else {}),
            **{key: value for key, value in middle.items() if key != "scenario"},
        }
        if training.price:
            values |= {f"price_usd_per_gpu_hour_{bound}": getattr(training.price, bound) for bound in ("low", "median", "high")}
    return values | ({"unavailable": absent} if absent else {})


def is_too_large(training: TrainingAnswer) -> bool:
    """Whether the devices cannot hold the state of the training."""
    num_devices, hardware = training.num_devices, training.hardware
    return num_devices is not None and hardware is not None and num_devices < math.ceil(training.state_bytes / hardware.memory_bytes)


def memory_note(training: TrainingAnswer, hardware: Hardware) -> str:
    """What the training must hold, against what the devices have."""
    least, capacity = math.ceil(training.state_bytes / hardware.memory_bytes), format_bytes(hardware.memory_bytes)
    state = f"memory: weights, gradients, optimizer state and low-precision copies take {format_bytes(training.state_bytes)}"
    if training.num_devices is not None and is_too_large(training):
        return (
            f"{state}; {format_int(training.num_devices)} x {capacity} cannot hold that, at least {format_int(least)} devices are needed."
        )
    kept = "" if training.model.sample is None else f": {format_bytes(training.activation_bytes)} a sample, where attention is fused"
    return f"{state}: {'one device' if least == 1 else f'at least {format_int(least)} devices'} of {capacity}, activations on top{kept}."


def _per_device_s(training: TrainingAnswer) -> float:
    """Samples (or sequences) that one device trains on in a second, at the utilization in the middle."""
    run = training.runs[training.middle]
    return run.tokens / training.seq_len / run.gpu_seconds


def rate_line(training: TrainingAnswer) -> str:
    """How many samples of images, or hours of audio, are trained on in how long; empty for a model of text or numbers."""
    sample = training.model.sample
    if sample is None:
        return ""
    each = _per_device_s(training)
    if isinstance(sample, Audio):
        rate, what = each * sample.duration_s, "times as fast as it is heard"
    else:
        rate, what = each, "samples/s"
    one = f"{format_grouped(rate)} {what} on one device"
    if not training.num_devices or training.num_devices == 1:
        return f"rate: {one}."
    return f"rate: {format_grouped(rate * training.num_devices)} {what} on {format_int(training.num_devices)} devices; {one}."


def answer_table(training: TrainingAnswer) -> Table:
    """Time, GPU-days, energy and money, one row per utilisation."""
    rows = _rows(training)
    notes = [f"{figure}: none, {reason}." for figure, reason in missing(training).items()] if training.hardware else [f"{NO_HARDWARE}."]
    if training.hardware:
        notes.append(memory_note(training, training.hardware))
    if any(run.energy_j for run in training.runs):
        notes.append("energy: the boards alone at their power limit, an upper figure for them; no hosts, network or cooling.")
    if rows:
        notes += [*([rate] if (rate := rate_line(training)) else []), WALL_TIME]
    return Table(
        title=_headline(training, rows),
        conditions=conditions(training),
        columns=_columns(training),
        rows=rows,
        notes=notes,
        facts=facts(training),
        key="training",
        kind="estimated",
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
        kind="counted",
    )
