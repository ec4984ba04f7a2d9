"""DeepSpeed: the JSON that deepspeed.initialize takes as `config`; what it has no key for stands under "sixnd", which it ignores.

Source: DeepSpeed's configuration reference (https://www.deepspeed.ai/docs/config-json/), its AutoTP and MiCS pages.
"""

from __future__ import annotations

import json
from typing import Any

from estimators.cost.layout import Layout
from estimators.training.layouts.launchers.setup import Setup

COMMAND = "deepspeed train.py --deepspeed_config FILE"


def body(layout: Layout, setup: Setup) -> str:
    """The configuration."""
    zero: dict[str, Any] = {"stage": layout.zero, "overlap_comm": True, "contiguous_gradients": True}
    if layout.shard and layout.zero == 3:
        zero["mics_shard_size"] = layout.shard
    config: dict[str, Any] = {
        "train_batch_size": layout.global_batch,
        "train_micro_batch_size_per_gpu": layout.micro_batch,
        "gradient_accumulation_steps": layout.num_micro_batches,
        "zero_optimization": zero,
        "bf16": {"enabled": setup.dtype not in ("fp16", "fp32", "tf32")},
        "fp16": {"enabled": setup.dtype == "fp16"},
    }
    if layout.tp > 1:
        config["tensor_parallel"] = {"autotp_size": layout.tp}
    return json.dumps(config, indent=2)


def fields(text: str) -> dict[str, Any]:
    """What the keys say of a layout."""
    config = json.loads(text)
    zero = config.get("zero_optimization", {})
    layout: dict[str, Any] = {"zero": int(zero.get("stage", 0)), "shard": int(zero.get("mics_shard_size", 0))}
    layout["tp"] = int(config.get("tensor_parallel", {}).get("autotp_size", 1))
    sizes = [config.get(key) for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")]
    whole, micro, passes = (size if isinstance(size, int) else None for size in sizes)
    if whole is not None:
        layout["global_batch"] = whole
    if micro is not None:
        layout["micro_batch"] = micro
    if whole and micro and passes and whole % (micro * passes) == 0:
        layout["dp"] = whole // (micro * passes)
    return layout


def can_run(lanes: Any) -> Any:
    """Layouts that a configuration alone sets up: data and tensor parallelism; AutoTP goes with ZeRO 0 to 2."""
    alone = (lanes.pp == 1) & (lanes.cp == 1) & (lanes.ep == 1) & ((lanes.tp == 1) | (lanes.zero <= 2))
    return alone & ~lanes.selective & ~lanes.sequence_parallel
