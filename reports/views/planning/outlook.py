"""Around an answer: what fills the memory of a device, what one change would make of the run, the published runs that are nearest."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.memory.device import PARTS
from estimators.training.layouts.outlook import Held, Outlook
from estimators.tuning.memory import PARTS as TUNING_PARTS
from estimators.units import (
    DAY_S,
    format_bytes,
    format_count,
    format_days,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
    format_ratio,
    format_signed_fraction,
)
from estimators.validation.nearest_runs import NearRun
from reports.table import Column, Table, Value

RESERVE = "context, collectives, and memory cut up by what comes and goes: stated, not computed"


def held_table(devices: Sequence[Held]) -> Table:
    """Bytes of the fullest device by part, and what the device holds.

    Args:
        devices: at least one; a row for each.
    """
    said = (TUNING_PARTS if devices[0].tuned else PARTS) | {"reserve": RESERVE}
    parts = [part for part in said if any(device.parts.get(part) for device in devices)]
    return Table(
        title="What fills the fullest device of a layout, at the fullest moment of a step",
        columns=[
            Column(key="hardware", header="device"),
            *(Column(key=f"{part}_bytes", header=part.replace("_", " "), format=format_bytes, align="right") for part in parts),
            Column(key="needed_memory", header="in all", format=format_bytes, align="right"),
            Column(key="device_memory", header="it holds", format=format_bytes, align="right", kind="published"),
            Column(key="filled_fraction", header="filled", format=format_fraction, align="right"),
            Column(key="layout", header="layout"),
        ],
        rows=[
            {
                "hardware": device.hardware.id,
                **{f"{part}_bytes": device.parts.get(part) for part in parts},
                "needed_memory": device.needed_bytes,
                "device_memory": device.hardware.memory_bytes,
                "filled_fraction": device.needed_bytes / device.hardware.memory_bytes,
                "layout": str(device.layout),
            }
            for device in devices
        ],
        notes=[f"{part.replace('_', ' ')}: {said[part]}" for part in parts],
        key="held",
        kind="estimated",
    )


def knobs_table(around: Outlook) -> Table:
    """What the run takes if one thing is otherwise, the change that moves it most first."""
    rows: list[dict[str, Value]] = [
        {
            "change": knob.change,
            "run_days": knob.run_s / DAY_S,
            "ratio": knob.run_s / around.run_s,
            "change_fraction": knob.run_s / around.run_s - 1,
            "cost_usd": knob.cost_usd,
            "fits": knob.fits,
        }
        for knob in around.knobs
    ]
    on = f"{format_int(around.num_devices)} x {around.hardware.id}"
    return Table(
        title=f"What moves {format_days(around.run_s / DAY_S)} on {on}: one change at a time",
        conditions=["each change by itself, the layout held; sequences at the same tokens a step; steady steps unless it says otherwise"],
        columns=[
            Column(key="change", header="if"),
            Column(key="run_days", header="time", format=format_days, align="right"),
            Column(key="ratio", header="times", format=lambda ratio: format_ratio(ratio, 3), align="right"),
            Column(key="change_fraction", header="change", format=format_signed_fraction, align="right"),
            Column(key="cost_usd", header="cost", format=format_money, align="right"),
            Column(key="fits", header="fits"),
        ],
        rows=rows,
        facts={"answer_days": around.run_s / DAY_S, "answer_cost_usd": around.cost_usd},
        key="knobs",
        kind="estimated",
    )


def near_runs_table(runs: Sequence[NearRun]) -> Table:
    """Published runs, predicted as this one is, each left out of its own factor.

    Args:
        runs: at least one.
    """
    held = sum(run.low_s <= run.measured_s <= run.high_s for run in runs)
    return Table(
        title=f"The nearest published runs: {format_int(held)} of {format_int(len(runs))} took what would have been planned",
        conditions=["nearest in parameters x tokens, then in devices; planned: predicted steps by the factor of the other published runs"],
        columns=[
            Column(key="run", header="run"),
            Column(key="params", header="parameters", format=format_count, align="right", kind="published"),
            Column(key="tokens", header="tokens", format=format_count, align="right", kind="published"),
            Column(key="hardware", header="on"),
            Column(key="num_devices", header="GPUs", format=format_int, align="right", kind="published"),
            Column(key="measured_gpu_days", header="took, GPU-days", format=format_grouped, align="right", kind="published"),
            Column(key="planned_gpu_days", header="planned", format=format_grouped, align="right"),
            Column(key="low_gpu_days", header="80 %, from", format=format_grouped, align="right"),
            Column(key="high_gpu_days", header="to", format=format_grouped, align="right"),
            Column(key="source", header="source", raw=True),
        ],
        rows=[
            {
                "run": run.name,
                "params": run.params,
                "tokens": run.tokens,
                "hardware": run.hardware,
                "num_devices": run.num_devices,
                "measured_gpu_days": run.measured_s / DAY_S,
                "planned_gpu_days": run.planned_s / DAY_S,
                "low_gpu_days": run.low_s / DAY_S,
                "high_gpu_days": run.high_s / DAY_S,
                "source": run.source,
            }
            for run in runs
        ],
        key="near_runs",
        kind="estimated",
    )
