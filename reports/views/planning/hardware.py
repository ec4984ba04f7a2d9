"""One training run on several kinds of device, and what each of them holds and bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimators.facts.published_runs import MIN_RUNS
from estimators.spec import Workload
from estimators.training.answer import OnDevice, TrainingAnswer
from estimators.training.on_devices import Bounds
from estimators.units import (
    DAY_S,
    format_bytes,
    format_days,
    format_duration,
    format_energy,
    format_flop_rate,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
)
from reports.table import Column, Table, Value
from reports.views.planning.marks import BEATEN_BY, with_beaten
from reports.views.training.conditions import convention_line, device_lines, length_source, price_text, scope_lines


def _by_gpu_days(devices: Sequence[OnDevice[TrainingAnswer]]) -> list[OnDevice[TrainingAnswer]]:
    """Least device time first; those without an answer last."""
    return sorted(devices, key=lambda device: _gpu_seconds(device.answer) if device.answer else math.inf)


def _gpu_seconds(training: TrainingAnswer) -> float:
    return training.runs[training.middle].gpu_seconds


def training_table(devices: Sequence[OnDevice[TrainingAnswer]]) -> Table:
    """Days, money and energy of the same training on each device; every one has a row.

    Args:
        devices: at least one with an answer.
    """
    ordered = _by_gpu_days(devices)
    answers = [device.answer for device in ordered if device.answer]
    reference = answers[0]
    time = "wall_days" if reference.num_devices else "gpu_days"
    rows = with_beaten([_row(device) for device in ordered], time=time, cost="cost_usd_median")
    refused = any(device.reason for device in ordered)
    if any(len(training.runs) > 1 for training in answers):
        said_by = (
            "median of the published runs of dense language models on each device's architecture, on all hardware where "
            f"fewer than {MIN_RUNS} are; --utilization sets one for all"
        )
    else:
        said_by = reference.utilization_source
    seen = [
        f"price of {device.hardware.id}: {price_text(device.answer.price)}, {device.answer.price.source}"
        for device in ordered
        if device.answer and device.answer.price
    ]
    return Table(
        title=f"Training {reference.model.name} on {reference.work_text}, {_count_text(reference)} of each kind",
        conditions=[
            f"{reference.model.name}: {format_int(reference.params)} parameters; {format_int(reference.tokens)} {reference.item}s"
            + (
                ""
                if reference.item == "sample"
                else f" in sequences of {format_int(reference.seq_len)}{length_source(reference.seq_len_source)}"
            ),
            convention_line(reference.convention),
            *scope_lines(reference.model, Workload(phase="train", seq_len=reference.seq_len)),
            f"{reference.dtype}, share of the dense peak of each device",
            f"utilization: {said_by}",
        ],
        columns=[
            Column(key="hardware", header="device"),
            Column(key="utilization_fraction", header="util.", format=format_fraction, align="right"),
            Column(key="peak_flop_per_s", header="peak", format=format_flop_rate, align="right"),
            Column(key="wall_days", header="wall time", format=format_days, align="right"),
            Column(key="gpu_days", header="GPU-days", format=format_grouped, align="right"),
            Column(key="gpu_hours", header="GPU-hours", format=format_grouped, align="right"),
            Column(key="energy_j", header="energy", format=format_energy, align="right"),
            *(
                Column(key=f"cost_usd_{bound}", header=header, format=format_money, align="right")
                for bound, header in (("low", "cost, low"), ("median", "median"), ("high", "high"))
            ),
            BEATEN_BY,
            *([Column(key="reason", header="why not")] if refused else []),
        ],
        rows=rows,
        notes=[
            *dict.fromkeys(seen),
            *device_lines(device.hardware for device in ordered),
            "energy: the boards alone at their power limit.",
            "The same utilization on two devices is an assumption, not a finding.",
        ],
        facts={
            "model": reference.model.name,
            "params": reference.params,
            "tokens": reference.tokens,
            "training_flop": reference.flop,
            "convention": reference.convention,
        },
        key="training",
        kind="estimated",
    )


def _count_text(training: TrainingAnswer) -> str:
    return "any number" if training.num_devices is None else format_int(training.num_devices)


def _row(device: OnDevice[TrainingAnswer]) -> dict[str, Value]:
    row: dict[str, Value] = {"hardware": device.hardware.id, "reason": device.reason or None}
    training = device.answer
    if training is None:
        return row
    run = training.runs[training.middle]
    row |= {
        "utilization_fraction": run.utilization,
        "peak_flop_per_s": device.hardware.peak(training.dtype),
        "wall_days": run.wall_s / DAY_S if training.num_devices else None,
        "gpu_days": run.gpu_days,
        "gpu_hours": run.gpu_hours,
        "energy_j": run.energy_j,
    }
    if training.price:
        row |= {f"cost_usd_{bound}": getattr(training.price, bound) * run.gpu_hours for bound in ("low", "median", "high")}
    return row


def holding_table(devices: Sequence[Bounds]) -> Table:
    """What each device holds, and the physics bound of a prefill and a decode step at batch 1.

    Where one device cannot hold weights and KV cache, the bound is for the fewest that can, perfectly split.

    Args:
        devices: at least one.
    """
    rows: list[dict[str, Value]] = []
    needs: dict[str, int] = {}
    seq_len = devices[0].training.seq_len
    for device in sorted(devices, key=lambda bounds: _gpu_seconds(bounds.training)):
        training, prefill, decode = device.training, device.prefill, device.decode
        assert training.hardware is not None
        assert prefill.step_time_bound_s is not None
        assert decode.step_time_bound_s is not None
        size = training.hardware.memory_bytes
        needs = {"training": training.state_bytes, "inference": sum(decode.memory_bytes.values())}
        num_serving = math.ceil(needs["inference"] / size)
        rows.append(
            {
                "hardware": training.hardware.id,
                "memory_bytes": size,
                "num_devices_training_state": math.ceil(needs["training"] / size),
                "num_devices_inference": num_serving,
                "prefill_bound_s": prefill.step_time_bound_s / num_serving,
                "decode_bound_s": decode.step_time_bound_s / num_serving,
                "decode_bound_by": decode.bound_by,
            }
        )
    return Table(
        title="What a device holds, and how fast a step can be at all",
        conditions=[
            f"training state {format_bytes(needs['training'])}: weights, gradients, optimizer state, low-precision copies; no activations",
            f"inference {format_bytes(needs['inference'])}: weights and the KV cache of one sequence",
            f"batch 1: prefill of {format_int(seq_len)} tokens, decode after {format_int(devices[0].context_len)} cached; a bound that is "
            "never beaten, on the fewest devices that hold the inference, perfectly split",
        ],
        columns=[
            Column(key="hardware", header="device"),
            Column(key="memory_bytes", header="memory", format=format_bytes, align="right"),
            Column(key="num_devices_training_state", header="to train", format=format_int, align="right"),
            Column(key="num_devices_inference", header="to infer", format=format_int, align="right"),
            Column(key="prefill_bound_s", header="prefill at least", format=format_duration, align="right"),
            Column(key="decode_bound_s", header="decode at least", format=format_duration, align="right"),
            Column(key="decode_bound_by", header="decode bound by"),
        ],
        rows=rows,
        notes=["to train, to infer: the fewest devices whose memory holds the training state, or the weights and KV cache."],
        key="holding",
        kind="derived",
    )
