"""What single steps hold at once: inference at its longest and training, part by part, and on how many devices it fits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from estimators.architectures.adapters import FineTuned
from estimators.architectures.decoder import Decoder
from estimators.spec import Model
from estimators.units import format_bytes, format_fraction, format_int
from estimators.weight_formats import PLAIN
from reports.table import Column, Table, Value
from reports.views.training.tuning_job import job_lines

if TYPE_CHECKING:
    from estimators.inference.single_steps import StepsAnswer


def memory_table(answer: StepsAnswer) -> Table:
    """What must be held at once, by use and part, and on how many devices it fits."""
    name, hardware = answer.question.model.name, answer.question.hardware
    uses = _uses(answer)
    rows: list[dict[str, Value]] = []
    conditions: list[str] = []
    facts: dict[str, int | None] = {"device_memory_bytes": hardware.memory_bytes if hardware else None}
    for use, (condition, parts) in uses.items():
        conditions.append(f"{use}: {condition}")
        total = sum(parts.values())
        facts[f"{use}_memory_bytes"] = total
        facts |= {f"{use}_{part}_bytes": size for part, size in parts.items()}
        for part, size in [*parts.items(), ("total", total)]:
            row: dict[str, Value] = {"use": use, "part": part.replace("_", " "), "memory_bytes": size}
            if hardware:
                row |= {"device_fraction": size / hardware.memory_bytes, "num_devices": math.ceil(size / hardware.memory_bytes)}
            rows.append(row)
    return Table(
        title=f"Memory of {name}",
        conditions=conditions,
        columns=[
            Column(key="use", header="use", once=True),
            Column(key="part", header="part"),
            Column(key="memory_bytes", header="memory", format=format_bytes, align="right"),
            *(
                [
                    Column(key="device_fraction", header=f"of {hardware.id}", format=format_fraction, align="right"),
                    Column(key="num_devices", header="devices that hold it", format=format_int, align="right"),
                ]
                if hardware
                else []
            ),
        ],
        rows=rows,
        notes=_notes(answer, {row["part"] for row in rows}),
        facts=facts,
        key="memory",
        kind="estimated",
    )


def _notes(answer: StepsAnswer, parts: set[Value]) -> list[str]:
    if "training" in answer.steps and answer.question.tuning is not None:
        return [TUNED_NOTE]
    return _activation_notes(parts, answer.activations_on_gpu_bytes)


def _weights_text(model: Model, dtype: str) -> str:
    """What weights are held in, such as ``bf16``."""
    if isinstance(model, FineTuned) and model.base_format != PLAIN:
        return f"{dtype}, those of frozen layers in {model.base_format}"
    if isinstance(model, Decoder) and model.stored and model.stored.matrix:
        return f"{dtype}, those of layers as its quantization_config says"
    return dtype


def _uses(answer: StepsAnswer) -> dict[str, tuple[str, dict[str, int]]]:
    """Use -> its conditions, and bytes by part: inference at its longest, training of one step where it was asked about."""
    weights = _weights_text(answer.question.model, answer.question.dtype)
    steps, generated, tuning = answer.steps, answer.generation, answer.question.tuning
    uses = {}
    if generated:
        shape = f"{format_int(generated.rows)} rows of {format_int(generated.prompt_tokens + generated.new_tokens - 1)} tokens"
        uses["inference"] = (f"weights in {weights}, KV cache of {shape}", generated.peak_memory_bytes)
    else:
        name = "decode" if "decode" in steps else "forward"
        workload, cost = steps[name]
        tokens = workload.context_len + workload.seq_len
        cache = f", KV cache of {format_int(workload.batch)} x {format_int(tokens)} tokens" if name == "decode" else ""
        uses["inference"] = (f"weights in {weights}{cache}", dict(cost.memory_bytes))
    if "training" not in steps:
        return uses
    workload, cost = steps["training"]
    if tuning is not None:
        uses["training"] = ("; ".join(job_lines(tuning)), dict(cost.memory_bytes))
        return uses
    recomputing = "full activation checkpointing" if workload.recompute == "full" else "no activation checkpointing"
    uses["training"] = (
        f"fp32 weights, gradients and {workload.optimizer} state, {workload.dtype} compute, {recomputing}; "
        f"activations of {format_int(workload.batch)} x {format_int(workload.seq_len)}",
        dict(cost.memory_bytes),
    )
    return uses


TUNED_NOTE = (
    "training: at the fullest moment of a step, as torch.cuda.max_memory_allocated counts it; `python -m bench fit` has every moment, and "
    "whether it fits."
)


def _activation_notes(parts: set[Value], on_gpu_bytes: int | None) -> list[str]:
    if "activations" not in parts:
        return []
    notes = [
        "activations: what transformers and PyTorch keep for backward, each layer as it is written in Python, with fused attention and no "
        "dropout; with checkpointing, the inputs of layers and one layer run again. Without kernels from elsewhere (mamba-ssm, "
        "causal-conv1d, flash-linear-attention), with which state-space and delta-rule layers keep less.",
    ]
    if on_gpu_bytes:
        notes.append(
            "activations are as torch.autocast has them on a CPU; on a GPU it runs powers, softmax and norms in fp32 as well: "
            f"{format_bytes(on_gpu_bytes)} by its list of operations, not measured."
        )
    if "logits and loss" in parts:
        notes.append("logits and loss: the log-softmax in fp32 and two gradients of it, at the start of backward.")
    return notes
