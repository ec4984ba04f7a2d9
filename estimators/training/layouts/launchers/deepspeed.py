"""DeepSpeed: the JSON that deepspeed.initialize takes as `config`; what it has no key for stands under "sixnd", which it ignores.

Source: DeepSpeed's configuration reference (https://www.deepspeed.ai/docs/config-json/), its AutoTP and MiCS pages.
"""

from __future__ import annotations

import json
from typing import Any

from estimators.cost.layout import Layout
from estimators.strict_text import table
from estimators.training.layouts.launchers.keys import (
    BELOW_16_BITS,
    NOT_PRICED,
    OFFLOADED,
    PRECISIONS,
    Keys,
    Refused,
    Said,
    flat,
    optimizers_named,
    turned_on,
    whole_number,
)
from estimators.training.layouts.launchers.setup import Setup

COMMAND = "deepspeed train.py --deepspeed_config FILE"

KEYS = Keys(
    read=frozenset(
        (
            "train_batch_size",
            "train_micro_batch_size_per_gpu",
            "gradient_accumulation_steps",
            "zero_optimization.stage",
            "zero_optimization.mics_shard_size",
            "tensor_parallel.autotp_size",
            "bf16.enabled",
            "fp16.enabled",
            "optimizer.type",
            "sixnd.*",
        )
    ),
    harmless=frozenset(
        (
            "fp16.*",  # scales of the loss
            "bf16.check_grad_overflow",
            "optimizer.params.*",
            "scheduler.*",
            "gradient_clipping",
            "prescale_gradients",
            "gradient_predivide_factor",
            "steps_per_print",
            "wall_clock_breakdown",
            "dump_state",
            "memory_breakdown",
            "seed",
            "checkpoint.*",
            "load_universal_checkpoint",
            "dataloader_drop_last",
            "disable_allgather",
            "comms_config.*",
            "comms_logger.*",
            "flops_profiler.*",
            "tensorboard.*",
            "wandb.*",
            "csv_monitor.*",
            "comet.*",
            "monitor_config.*",
            "aio.*",
            "nebula.*",
            "zero_allow_untested_optimizer",
            "zero_force_ds_cpu_optimizer",
            "zero_optimization.stage3_gather_16bit_weights_on_model_save",
            "zero_optimization.gather_16bit_weights_on_model_save",
            "zero_optimization.stage3_gather_fp16_weights_on_model_save",
            "zero_optimization.allgather_partitions",
            "zero_optimization.reduce_scatter",
            "zero_optimization.round_robin_gradients",
            "zero_optimization.load_from_fp32_weights",
            "zero_optimization.elastic_checkpoint",
            "zero_optimization.ignore_unused_parameters",
            "zero_optimization.legacy_stage1",
            "zero_optimization.sub_group_size",  # of the optimizer's step, of states that are offloaded
            "zero_optimization.memory_efficient_linear",
            "zero_optimization.offload_*.pin_memory",  # how states are offloaded, where `device` says that they are
            "zero_optimization.offload_*.buffer_count",
            "zero_optimization.offload_*.buffer_size",
            "zero_optimization.offload_*.max_in_cpu",
            "zero_optimization.offload_*.nvme_path",
            "zero_optimization.offload_*.pipeline*",
            "zero_optimization.offload_*.fast_init",
            "zero_optimization.offload_*.ratio",
            "activation_checkpointing.profile",
            "activation_checkpointing.synchronize_checkpoint_boundary",
            "activation_checkpointing.number_checkpoints",
            "activation_checkpointing.contiguous_memory_optimization",
            "tensor_parallel.tp.*",
        )
    ),
    refused={
        "zero_optimization": Refused(why='give {"zero_optimization": {"stage": 3}}, or the stage that is meant'),
        "zero_optimization.offload_param": Refused(why=OFFLOADED),
        "zero_optimization.offload_optimizer": Refused(why=OFFLOADED),
        "zero_optimization.offload_*.device": Refused(why=OFFLOADED),
        "zero_optimization.cpu_offload*": Refused(why=OFFLOADED),
        "zero_optimization.zenflow*": Refused(why=OFFLOADED),
        "activation_checkpointing.cpu_checkpointing": Refused(why="activations in host memory are not priced; take it out of the file"),
        "activation_checkpointing.partition_activations": Refused(why=NOT_PRICED),
        "zero_optimization.zero_hpz_partition_size": Refused(why=NOT_PRICED, unless=("1", "none", "auto")),
        "zero_optimization.zero_quantized_*": Refused(why=NOT_PRICED),
        "zero_optimization.mics_hierarchical_params_gather": Refused(why=NOT_PRICED),
        "sequence_parallel_size": Refused(why=NOT_PRICED, unless=("1", "none", "auto")),
        "pipeline.stages": Refused(
            why='give pp under "sixnd", such as {"sixnd": {"pp": 4}}, and leave it out', unless=("auto", "1", "none")
        ),
        "data_types.grad_accum_dtype": Refused(
            why="gradients in fp32 are priced; take it out of the file", unless=("fp32", "none", "auto")
        ),
        "amp.enabled": Refused(why='bf16 or fp16 are priced; give "bf16": {"enabled": true} in its place'),
        "elasticity.enabled": Refused(why="the batch is then chosen when the run starts; give train_batch_size in its place"),
        "autotuning.enabled": Refused(why="the batch is then chosen when the run starts; give what it found"),
        "curriculum_learning.enabled": Refused(why="sequences of one length are priced; take it out of the file"),
        "data_efficiency.enabled": Refused(why="sequences of one length through all layers are priced; take it out of the file"),
        "progressive_layer_drop.enabled": Refused(why="all layers are priced; take it out of the file"),
        "hybrid_engine.enabled": Refused(why="training alone is priced; take it out of the file"),
        "sparse_attention*": Refused(why=NOT_PRICED),
        "compression_training*": Refused(why=NOT_PRICED),
        "quantize_training*": Refused(why=NOT_PRICED),
    },
    usual={
        "zero_optimization.overlap_comm": ("true", "auto", "none"),
        "zero_optimization.contiguous_gradients": ("true", "auto", "none"),
        "zero_optimization.stage3_max_live_parameters": ("1000000000", "auto"),
        "zero_optimization.stage3_max_reuse_distance": ("1000000000", "auto"),
        "zero_optimization.max_live_parameters": ("1000000000", "auto"),  # the same two, by the names that DeepSpeed has inside
        "zero_optimization.max_reuse_distance": ("1000000000", "auto"),
        "zero_optimization.stage3_prefetch_bucket_size": ("500000000", "auto"),
        "zero_optimization.stage3_param_persistence_threshold": ("100000", "auto"),
        "zero_optimization.reduce_bucket_size": ("500000000", "auto"),
        "zero_optimization.allgather_bucket_size": ("500000000", "auto"),
        "communication_data_type": ("the dtype of the run", "auto", "none"),
        "sparse_gradients": ("false", "none"),
        "compile.*": ("not compiled", "false", "none"),
        "torch_autocast.*": ("not used", "none", "false"),
    },
)


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


def values(text: str) -> dict[str, Any]:
    """What the file says, by dotted name."""
    return flat(table(text, is_json=True))


def fields(text: str) -> dict[str, Any]:
    """What the keys say of a layout; of the sizes of a batch, what is not left to the script as "auto"."""
    found = values(text)
    sizes = {
        "zero": whole_number(found, "zero_optimization.stage"),
        "shard": whole_number(found, "zero_optimization.mics_shard_size"),
        "tp": whole_number(found, "tensor_parallel.autotp_size"),
        "global_batch": whole_number(found, "train_batch_size"),
        "micro_batch": whole_number(found, "train_micro_batch_size_per_gpu"),
        "passes": whole_number(found, "gradient_accumulation_steps"),
    }
    return {"zero": 0} | {name: size for name, size in sizes.items() if size is not None}


def said(text: str) -> Said:
    """What the keys say beside a layout. Products below 16 bits are the model's affair, in a run of bf16."""
    found = values(text)
    kinds = [kind for kind in ("bf16", "fp16") if turned_on(found, f"{kind}.enabled")]
    dtypes = (*PRECISIONS[kinds[0]], *BELOW_16_BITS) if kinds else ()
    if not kinds and all(found.get(f"{kind}.enabled") is False for kind in ("bf16", "fp16")):
        dtypes = PRECISIONS["fp32"]
    kind = found.get("optimizer.type")
    return Said(dtypes=dtypes, optimizers=() if kind is None else optimizers_named("optimizer.type", str(kind)))


def can_run(lanes: Any) -> Any:
    """Layouts that a configuration alone sets up: data and tensor parallelism; AutoTP goes with ZeRO 0 to 2."""
    alone = (lanes.pp == 1) & (lanes.cp == 1) & (lanes.ep == 1) & ((lanes.tp == 1) | (lanes.zero <= 2))
    return alone & ~lanes.selective & ~lanes.sequence_parallel
