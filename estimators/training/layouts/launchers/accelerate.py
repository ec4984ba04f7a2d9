"""Hugging Face accelerate: the YAML of `accelerate launch --config_file`, with FSDP2 and its parallelism_config.

Source: accelerate 1.10 on, commands/config/config_args.py, parallelism_config.py, examples/torch_native_parallelism/configs.
"""

from __future__ import annotations

from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError
from estimators.training.layouts.launchers.setup import Setup

COMMAND = "accelerate launch --config_file FILE train.py"
DEGREES = {"cp": "cp_size", "replicas": "dp_replicate_size", "shard": "dp_shard_size", "tp": "tp_size"}


def body(layout: Layout, setup: Setup) -> str:
    """The configuration. It is flat enough that this and `fields` need no YAML package."""
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
        "mixed_precision": setup.dtype if setup.dtype in ("bf16", "fp16", "fp8") else "'no'",
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


def fields(text: str) -> dict[str, Any]:
    """What the keys say of a layout. Raises BadValueError where a value is not a number."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        values[key.strip()] = value.strip().strip("'\"")

    def number(name: str, default: int) -> int:
        value = values.get(name, str(default))
        if not value.isdigit():
            raise BadValueError(f"{name} is {value[:40]!r}; expected a whole number")
        return int(value)

    sharded = values.get("distributed_type") == "FSDP"
    layout: dict[str, Any] = {"tp": number("parallelism_config_tp_size", 1), "cp": number("parallelism_config_cp_size", 1)}
    replicas = number("parallelism_config_dp_replicate_size", 1)
    degree = layout["tp"] * layout["cp"]
    shard = number("parallelism_config_dp_shard_size", max(1, number("num_processes", 1) // degree))
    layout["dp"] = replicas * shard if sharded else number("num_processes", 1)
    layout["shard"] = shard if replicas > 1 and shard > 1 else 0
    strategy = values.get("fsdp_reshard_after_forward", "true")
    layout["zero"] = 0 if not sharded else 3 if strategy in ("true", "FULL_SHARD", "HYBRID_SHARD") else 2
    layout["recompute"] = "full" if values.get("fsdp_activation_checkpointing") == "true" else "none"
    return layout


def can_run(lanes: Any) -> Any:
    """Layouts that it runs without another engine: FSDP2 with tensor and context parallelism, or plain replicas."""
    flat = (lanes.pp == 1) & (lanes.ep == 1) & ~lanes.selective & ~lanes.sequence_parallel
    plain = (lanes.zero == 0) & (lanes.tp == 1) & (lanes.cp == 1) & ~lanes.full
    return flat & (plain | (lanes.zero >= 2))
