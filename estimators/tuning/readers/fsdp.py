"""FSDP as the Trainer, axolotl and accelerate configure it: one block of keys, with or without the prefix fsdp_.

Source: transformers 5.24, training_args.py (_process_fsdp_args); axolotl 0.13, utils/schemas/fsdp.py; accelerate 1.15,
utils/dataclasses.py (FullyShardedDataParallelPlugin).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.training.layouts.launchers import accelerate
from estimators.training.layouts.launchers.keys import turned_on, whole_number
from estimators.tuning.settings import Value

BLOCK = "fsdp_config."
PREFIX = "fsdp_"

_READ = ("version", "sharding_strategy", "reshard_after_forward", "offload_params", "cpu_offload", "activation_checkpointing")
_HARMLESS = (
    "auto_wrap_policy",
    "backward_prefetch",
    "backward_prefetch_policy",
    "cpu_offload_pin_memory",
    "cpu_ram_efficient_loading",
    "final_state_dict_type",
    "forward_prefetch",
    "limit_all_gathers",
    "min_num_params",
    "mixed_precision_policy",
    "state_dict_type",
    "sync_module_states",
    "transformer_layer_cls_to_wrap",
    "use_orig_params",
    "xla*",
)
READ = frozenset(f"{BLOCK}{prefix}{name}" for name in _READ for prefix in ("", PREFIX))
HARMLESS = frozenset(f"{BLOCK}{prefix}{name}" for name in _HARMLESS for prefix in ("", PREFIX))

SHARINGS = {0: "ddp", 2: "zero-2", 3: "fsdp"}
"""Stages of ZeRO that its strategies are -> what devices share; parameters that stay gathered are ZeRO-2's."""


def settings(values: Mapping[str, Any], listed: tuple[str, ...] = ()) -> dict[str, dict[str, Value | None]]:
    """What a block says, by its keys.

    Args:
        values: of the file, by dotted name.
        listed: words of a list `fsdp` beside it, such as full_shard and offload.

    Raises:
        BadValueError: a strategy that is unknown, or copies of the model on several machines.
    """
    keys = {_full(key): key for key in values if key.startswith(BLOCK)}
    found = {name: values[key] for name, key in keys.items()}
    words = [name.lower() for name in listed]
    strategies = [name for name in words if name.upper() in accelerate.STRATEGIES]
    if strategies:
        found[_full("sharding_strategy")] = strategies[0]
    stage, is_hybrid = accelerate.strategy(found)
    if is_hybrid and (whole_number(values, "num_machines") or 1) > 1:
        raise BadValueError("a copy of the model on each of several machines is not priced; give the file of one machine")
    names = [keys[name] for name in (_full("sharding_strategy"), _full("reshard_after_forward"), _full("version")) if name in keys]
    said: dict[str, dict[str, Value | None]] = {"fsdp" if strategies or not names else names[0]: {"sharding": SHARINGS[stage]}}
    offloaded = [name for name in (_full("offload_params"), _full("cpu_offload")) if turned_on(found, name)]
    if offloaded or "offload" in words:
        key = keys[offloaded[0]] if offloaded else "fsdp"
        said.setdefault(key, {}).update({"offload_parameters": True, "offload_optimizer": True})
    checkpointed = _full("activation_checkpointing")
    if turned_on(found, checkpointed):
        said[keys[checkpointed]] = {"checkpointing": "full"}
    return said


def _full(key: str) -> str:
    """The name of a key of the block as accelerate spells it."""
    return f"{BLOCK}{PREFIX}{key.removeprefix(BLOCK).removeprefix(PREFIX)}"
