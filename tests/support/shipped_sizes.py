"""Shipped models that differ in sizes alone: the smallest stands for them at full depth, the others are counted with few layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from estimators.facts.registry import model_entry

DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers", "n_layers", "encoder_layers", "decoder_layers")
LISTS = ("layer_types", "layers_block_type")
NOT_COUNTED = ("torch_dtype", "rope_scaling")
"""Fields that change neither parameters nor FLOP."""
PATTERNS = ("gpt_neo", "jamba")
"""Families whose list or period of layers two layers do not hold: every size is counted whole."""


def shallow(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same model, and each of its parts, with at most two layers; of a list by layer, or of every so many layers, two kinds."""

    def cut(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return shallow(value)
        if key in LISTS:
            return (sorted({*value}, key=value.index) * 2)[:2]
        if key == "num_kv_shared_layers":
            return 0
        return min(2, value) if key in DEPTHS else value

    few = {key: cut(key, value) for key, value in config.items()}
    return few | ({"full_attention_interval": 2} if "full_attention_interval" in config else {})


def kind(value: Any) -> Any:
    """A configuration without its numbers."""
    if isinstance(value, Mapping):
        return tuple((key, kind(value[key])) for key in sorted(value) if key not in NOT_COUNTED)
    if isinstance(value, list | tuple):
        return tuple(kind(one) for one in value)
    return value if isinstance(value, str | bool) or value is None else 0


def smallest_of_each_kind(names: Iterable[str]) -> list[str]:
    """Of the models that differ in numbers alone, the one with the fewest parameters."""
    found: dict[Any, str] = {}
    for name in sorted(names, key=lambda name: model_entry(name).published_params):
        config = model_entry(name).config
        found.setdefault(name if config["model_type"] in PATTERNS else kind(config), name)
    return sorted(found.values())
