"""Hugging Face accelerate: the YAML of `accelerate launch --config_file`, with FSDP and its parallelism_config, DeepSpeed or Megatron-LM.

Source: accelerate 1.10 on, commands/config/config_args.py and cluster.py, utils/dataclasses.py (FullyShardedDataParallelPlugin,
DeepSpeedPlugin), parallelism_config.py, examples/torch_native_parallelism/configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError
from estimators.strict_text import table
from estimators.training.layouts.launchers.keys import (
    NOT_PRICED,
    OFFLOADED,
    PRECISIONS,
    Keys,
    Refused,
    Said,
    flat,
    turned_on,
    whole_number,
)
from estimators.training.layouts.launchers.setup import Setup

COMMAND = "accelerate launch --config_file FILE train.py"
DEGREES = {"cp": "cp_size", "replicas": "dp_replicate_size", "shard": "dp_shard_size", "tp": "tp_size"}
_DEGREE = "parallelism_config.parallelism_config_"
DEEPSPEED_BLOCK = "deepspeed_config."
_MEGATRON = "megatron_lm_config.megatron_lm_"
STRATEGIES = ("FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "HYBRID_SHARD_ZERO2")
"""Of FSDP 1, which are also given by their number, from 1."""

REPLICAS = ("NO", "FALSE", "MULTI_GPU", "MULTI_CPU", "MULTI_XPU", "MULTI_NPU", "MULTI_MLU", "MULTI_SDAA", "MULTI_MUSA", "MULTI_HPU")
KINDS = (*REPLICAS, "FSDP", "DEEPSPEED", "MEGATRON_LM")

KEYS = Keys(
    read=frozenset(
        (
            "distributed_type",
            "num_processes",
            "num_machines",
            "mixed_precision",
            "sixnd.*",
            "fsdp_config.fsdp_version",
            "fsdp_config.fsdp_sharding_strategy",
            "fsdp_config.fsdp_reshard_after_forward",
            "fsdp_config.fsdp_activation_checkpointing",
            *(_DEGREE + name for name in DEGREES.values()),
            *(DEEPSPEED_BLOCK + name for name in ("zero_stage", "gradient_accumulation_steps", "deepspeed_config_file")),
            *(_MEGATRON + name for name in ("tp_degree", "pp_degree", "num_micro_batches", "sequence_parallelism")),
            *(_MEGATRON + name for name in ("recompute_activations", "use_distributed_optimizer")),
        )
    ),
    harmless=frozenset(
        (
            "debug",
            "commands",
            "command_file",
            "downcast_bf16",
            "enable_cpu_affinity",
            "gpu_ids",
            "machine_rank",
            "main_process_ip",
            "main_process_port",
            "main_training_function",
            "mpirun_config.*",
            "rdzv_backend",
            "same_network",
            "tpu_*",
            "fp8_config.*",  # how products of 8 bits are scaled
            "dynamo_config.dynamo_mode",
            "dynamo_config.dynamo_use_*",
            "fsdp_config.fsdp_backward_prefetch_policy",
            "fsdp_config.fsdp_cpu_ram_efficient_loading",
            "fsdp_config.fsdp_forward_prefetch",
            "fsdp_config.fsdp_min_num_params",
            "fsdp_config.fsdp_state_dict_type",
            "fsdp_config.fsdp_sync_module_states",
            "fsdp_config.fsdp_transformer_layer_cls_to_wrap",
            "fsdp_config.fsdp_use_orig_params",
            DEEPSPEED_BLOCK + "deepspeed_exclusion_filter",
            DEEPSPEED_BLOCK + "deepspeed_hostfile",
            DEEPSPEED_BLOCK + "deepspeed_inclusion_filter",
            DEEPSPEED_BLOCK + "deepspeed_moe_layer_cls_names",
            DEEPSPEED_BLOCK + "deepspeed_multinode_launcher",
            DEEPSPEED_BLOCK + "gradient_clipping",
            DEEPSPEED_BLOCK + "offload_*_nvme_path",
            DEEPSPEED_BLOCK + "zero3_*",
            _MEGATRON + "gradient_clipping",
            _DEGREE + "cp_comm_strategy",
        )
    ),
    refused={
        "compute_environment": Refused(why="a cluster of one's own is read", unless=("local_machine",)),
        "use_cpu": Refused(why="training on CPUs is not priced; take it out of the file"),
        "fsdp_config.fsdp_offload_params": Refused(why=OFFLOADED),
        "fsdp_config.fsdp_auto_wrap_policy": Refused(
            why="the whole model is then gathered at once, which is not priced; give TRANSFORMER_BASED_WRAP",
            unless=("transformer_based_wrap", "size_based_wrap"),
        ),
        DEEPSPEED_BLOCK + "offload_*_device": Refused(why=OFFLOADED),
        _DEGREE + "sp_size": Refused(why=NOT_PRICED, unless=("1", "none")),
    },
    usual={
        "dynamo_config.dynamo_backend": ("not compiled", "no", "none"),
        "fsdp_config.fsdp_auto_wrap_policy": ("each layer by itself", "transformer_based_wrap"),
        "fsdp_config.fsdp_backward_prefetch": ("backward_pre", "backward_post", "1", "2"),
    },
)


def body(layout: Layout, setup: Setup) -> str:
    """The configuration."""
    sharded = layout.zero >= 2 or layout.tp > 1 or layout.cp > 1
    machines = max(1, layout.num_devices // setup.devices_per_node)
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "distributed_type": "FSDP" if sharded else "MULTI_GPU" if layout.num_devices > 1 else "'NO'",
        "enable_cpu_affinity": False,
    }
    if sharded:
        config["fsdp_config"] = {
            "fsdp_activation_checkpointing": layout.full,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_cpu_ram_efficient_loading": False,
            "fsdp_offload_params": False,
            "fsdp_reshard_after_forward": layout.zero >= 3,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
            "fsdp_version": 2,
        }
    config |= {
        "machine_rank": 0,
        "main_training_function": "main",
        "mixed_precision": next((name for name, dtypes in PRECISIONS.items() if name != "fp32" and setup.dtype in dtypes), "'no'"),
        "num_machines": machines,
        "num_processes": layout.num_devices,
    }
    if sharded:
        shard = layout.shard or layout.dp
        degrees = {"cp": layout.cp, "replicas": layout.dp // shard, "shard": shard, "tp": layout.tp}
        config["parallelism_config"] = {f"parallelism_config_{DEGREES[name]}": size for name, size in degrees.items()}
    config |= {"rdzv_backend": "static" if machines == 1 else "c10d", "same_network": True, "use_cpu": False}
    return "\n".join(_lines(config))


def _lines(config: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in config.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {str(value).lower() if isinstance(value, bool) else value}")
    return lines


def values(text: str) -> dict[str, Any]:
    """What the file says, by dotted name, in YAML or JSON; null says nothing.

    Raises:
        NotPlainError, RepeatedNameError: as `strict_text.table`.
    """
    said = flat(table(text, is_json=text.lstrip().startswith("{")))
    return {key: value for key, value in said.items() if value is not None}


def deepspeed_file(text: str) -> str:
    """The path of the DeepSpeed configuration that the file refers to; empty where it refers to none."""
    found = values(text)
    return str(found.get(DEEPSPEED_BLOCK + "deepspeed_config_file", "")) if kind_of_run(found) == "DEEPSPEED" else ""


def fields(text: str) -> dict[str, Any]:
    """What the keys say of a layout, but for those of a DeepSpeed configuration of its own.

    Raises:
        BadValueError: a value that is not a number, or a kind of run that is not read.
    """
    found = values(text)
    kind, devices = kind_of_run(found), whole_number(found, "num_processes") or 1
    if kind == "DEEPSPEED":
        return _deepspeed(found, devices)
    if kind == "MEGATRON_LM":
        return _megatron(found, devices)
    if kind == "FSDP" or any(_degrees(found)[name] > 1 for name in ("shard", "tp", "cp")):
        return _fsdp(found, devices) | ({} if kind == "FSDP" or _degrees(found)["shard"] > 1 else {"zero": 0})
    return {"dp": devices, "zero": 0}


def kind_of_run(found: Mapping[str, Any]) -> str:
    """What shares the model out, one of KINDS. Raises BadValueError."""
    kind = str(found.get("distributed_type", "NO")).upper()
    if kind not in KINDS:
        raise BadValueError(f"distributed_type is {kind[:40]!r}; expected one of: {', '.join(KINDS)}")
    return kind


def _degrees(found: dict[str, Any]) -> dict[str, int]:
    """Of parallelism_config; 0 where it says nothing."""
    return {name: whole_number(found, _DEGREE + key) or 0 for name, key in DEGREES.items()}


def _deepspeed(found: dict[str, Any], devices: int) -> dict[str, Any]:
    """Without a stage DeepSpeedPlugin takes 2."""
    if beside := [DEGREES[name] for name, size in _degrees(found).items() if size > 1]:
        raise BadValueError(f"parallelism_config_{beside[0]} beside distributed_type DEEPSPEED is not read; expected FSDP, or none of it")
    if DEEPSPEED_BLOCK + "deepspeed_config_file" in found:
        return {"dp": devices}
    stage, passes = (whole_number(found, DEEPSPEED_BLOCK + name) for name in ("zero_stage", "gradient_accumulation_steps"))
    return {"dp": devices, "zero": 2 if stage is None else stage} | ({"passes": passes} if passes else {})


def _megatron(found: dict[str, Any], devices: int) -> dict[str, Any]:
    tp, pp, passes = (whole_number(found, _MEGATRON + name) or 1 for name in ("tp_degree", "pp_degree", "num_micro_batches"))
    if devices % (tp * pp):
        raise BadValueError(f"num_processes is {devices}; expected a multiple of tp x pp, which is {tp * pp}")
    return {
        "tp": tp,
        "pp": pp,
        "dp": devices // (tp * pp),
        "passes": passes,
        "zero": 1 if turned_on(found, _MEGATRON + "use_distributed_optimizer") else 0,
        "sequence_parallel": turned_on(found, _MEGATRON + "sequence_parallelism"),
        "recompute": "selective" if turned_on(found, _MEGATRON + "recompute_activations") else "none",
    }


def _fsdp(found: dict[str, Any], devices: int) -> dict[str, Any]:
    degrees = _degrees(found)
    tp, cp, replicas = degrees["tp"] or 1, degrees["cp"] or 1, degrees["replicas"] or 1
    zero, hybrid = strategy(found)
    if hybrid:
        replicas = whole_number(found, "num_machines") or 1
    shard = degrees["shard"] or max(1, devices // (tp * cp * replicas))
    return {
        "tp": tp,
        "cp": cp,
        "dp": replicas * shard,
        "shard": shard if replicas > 1 and shard > 1 else 0,
        "zero": zero,
        "recompute": "full" if turned_on(found, "fsdp_config.fsdp_activation_checkpointing") else "none",
    }


def strategy(found: Mapping[str, Any]) -> tuple[int, bool]:
    """The stage of ZeRO that it is, and whether one copy of the model lies within a node. FSDP 1 has words or numbers, FSDP 2 a flag.

    Raises BadValueError.
    """
    said = found.get("fsdp_config.fsdp_sharding_strategy", found.get("fsdp_config.fsdp_reshard_after_forward", True))
    word = str(said).upper()
    if word in ("TRUE", "FALSE"):
        return (3 if word == "TRUE" else 2), False
    name = STRATEGIES[int(word) - 1] if word.isdigit() and 1 <= int(word) <= len(STRATEGIES) else word
    stages = {"FULL_SHARD": (3, False), "SHARD_GRAD_OP": (2, False), "NO_SHARD": (0, False), "HYBRID_SHARD": (3, True)}
    if name not in stages:
        raise BadValueError(f"fsdp_sharding_strategy is {word[:40]!r}; expected one of: {', '.join(stages)}")
    return stages[name]


def said(text: str) -> Said:
    """What the keys say beside a layout."""
    word = str(values(text).get("mixed_precision", "")).lower()
    dtypes = PRECISIONS["fp32"] if word in ("no", "false") else PRECISIONS.get(word, ())
    return Said(dtypes=dtypes)


def can_run(lanes: Any) -> Any:
    """Layouts that it runs without another engine: FSDP2 with tensor and context parallelism, or plain replicas."""
    flat = (lanes.pp == 1) & (lanes.ep == 1) & ~lanes.selective & ~lanes.sequence_parallel
    plain = (lanes.zero == 0) & (lanes.tp == 1) & (lanes.cp == 1) & ~lanes.full
    return flat & (plain | (lanes.zero >= 2))
