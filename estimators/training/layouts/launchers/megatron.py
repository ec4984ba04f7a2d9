"""Megatron-LM: the flags of pretrain_gpt.py, one a line.

Source: megatron/training/arguments.py and the parallelism guide of Megatron-Core 0.13.
"""

from __future__ import annotations

import shlex
from typing import Any

from estimators.cost.layout import Layout
from estimators.training.layouts.launchers.setup import Setup, stage_sizes

COMMAND = "torchrun ... pretrain_gpt.py $(grep -v '^#' FILE) ..."
PLAIN = {
    "--tensor-model-parallel-size": "tp",
    "--pipeline-model-parallel-size": "pp",
    "--num-virtual-stages-per-pipeline-rank": "vp",
    "--context-parallel-size": "cp",
    "--expert-model-parallel-size": "ep",
    "--micro-batch-size": "micro_batch",
    "--global-batch-size": "global_batch",
}
SHARDING = {"optim": 1, "optim_grads": 2, "optim_grads_params": 3}
"""Strategies of Megatron-FSDP, by the ZeRO stage that they are."""


def body(layout: Layout, setup: Setup) -> str:
    """The flags."""
    lines = [f"{flag} {getattr(layout, name)}" for flag, name in PLAIN.items() if name != "vp"]
    if layout.pp > 1 and setup.layers % (layout.pp * layout.vp):
        lines.append(f"--pipeline-model-parallel-layout {_stages(setup.layers, layout.pp * layout.vp)}")
    elif layout.vp > 1:
        lines.append(f"--num-virtual-stages-per-pipeline-rank {layout.vp}")
    lines += ["--expert-tensor-parallel-size 1"] * (layout.ep > 1) + ["--sequence-parallel"] * layout.sequence_parallel
    lines += [f"--seq-length {setup.seq_len}", *_precision(setup.dtype)]
    lines += ["--use-distributed-optimizer"] * (layout.zero >= 1)
    if layout.zero >= 2:
        strategy = next(name for name, stage in SHARDING.items() if stage == layout.zero)
        lines += ["--use-megatron-fsdp", f"--data-parallel-sharding-strategy {strategy}"]
        lines += ["--no-gradient-accumulation-fusion", "--ckpt-format fsdp_dtensor"]
    if layout.full:
        lines += ["--recompute-granularity full", "--recompute-method uniform", "--recompute-num-layers 1"]
    lines += ["--recompute-granularity selective"] * layout.selective
    return "\n".join(lines)


def _precision(dtype: str) -> list[str]:
    sixteen = {"fp16": ["--fp16"], "bf16": ["--bf16"], "fp32": []}
    return sixteen.get(dtype, ["--bf16", "--fp8-format hybrid"] if dtype in ("fp8", "mxfp8") else ["--bf16"])


def _stages(layers: int, stages: int) -> str:
    """E for the embedding, t for a layer, L for the loss. No quotes: what $(grep ...) puts in is split and not read again.

    >>> _stages(5, 2)
    'Ett|tttL'
    """
    return "E" + "|".join("t" * size for size in stage_sizes(layers, stages)) + "L"


def fields(text: str) -> dict[str, Any]:
    """What the flags say of a layout."""
    words = shlex.split(text.replace("\\\n", " "), comments=True)
    values = {word: value for word, value in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}
    layout: dict[str, Any] = {name: int(values[flag]) for flag, name in PLAIN.items() if flag in values}
    if stages := values.get("--pipeline-model-parallel-layout"):
        layout["vp"] = (stages.count("|") + 1) // layout.get("pp", 1) if "*" not in stages else 1
    layout["sequence_parallel"] = "--sequence-parallel" in values
    layout["recompute"] = values.get("--recompute-granularity", "none")
    layout["zero"] = 1 if "--use-distributed-optimizer" in values else 0
    if "--use-megatron-fsdp" in values:
        layout["zero"] = SHARDING.get(values.get("--data-parallel-sharding-strategy", ""), 0)
    return layout


def can_run(lanes: Any) -> Any:
    """Layouts that it runs: ZeRO-2 and 3 without a pipeline, one schedule, no hybrid sharding."""
    return ((lanes.zero <= 1) | (lanes.pp == 1)) & (lanes.shard == 0) & ~lanes.zero_bubble
