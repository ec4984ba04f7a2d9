"""Random small configurations of any type of transformers, drawn field by field from what its default configuration has."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tools.type_rows import default_config

Config = dict[str, Any]

DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
DEPTHS += ("num_encoder_layers", "depth")
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "decoder_hidden_size")
HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads", "encoder_attention_heads", "decoder_attention_heads", "attention_heads")
HEADS += ("num_encoder_attention_heads", "num_decoder_attention_heads", "swa_num_attention_heads")
GROUPS = ("num_key_value_heads", "swa_num_key_value_heads")
INNER = (
    "intermediate_size",
    "ffn_dim",
    "d_ff",
    "n_inner",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "dense_intermediate_size",
    "ffn_hidden_size",
)
BANKS = ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size", "moe_shared_expert_intermediate_size")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts")
HEAD_WIDTHS = ("head_dim", "attention_head_dim", "global_head_dim", "swa_head_dim", "d_kv")
SINGLE = ("n_group", "topk_group")
LATENT = {"q_lora_rank": (12, 20), "kv_lora_rank": (8, 16), "qk_nope_head_dim": (8, 12), "qk_rope_head_dim": (4, 8), "v_head_dim": (8, 12)}


def drawn(model_type: str, seed: int) -> Config:
    """A configuration of a type: its default one, with sizes that fit together drawn anew.

    Lists that have an entry for each layer are as long as the new depth.
    """
    rng = random.Random(f"{model_type} {seed}")
    default = default_config(model_type)
    return _anew(rng, default, _sizes(rng))


def _sizes(rng: random.Random) -> dict[str, int]:
    groups = rng.choice((1, 2))
    heads, head_width = groups * rng.choice((1, 2)) * 2, rng.choice((8, 16))
    experts = rng.choice((4, 6))
    found = {**dict.fromkeys(HEADS, heads), **dict.fromkeys(GROUPS, groups), **dict.fromkeys(HEAD_WIDTHS, head_width)}
    found |= dict.fromkeys(WIDTHS, heads * head_width) | dict.fromkeys(INNER, 8 * rng.randrange(3, 12))
    found |= dict.fromkeys(BANKS, 8 * rng.randrange(2, 5)) | dict.fromkeys(EXPERTS, experts) | dict.fromkeys(CHOSEN, rng.choice((1, 2)))
    found |= dict.fromkeys(DEPTHS, rng.randrange(2, 5)) | dict.fromkeys(SINGLE, 1)
    return found | {name: rng.choice(choices) for name, choices in LATENT.items()} | {"vocab_size": rng.randrange(64, 200)}


def _anew(rng: random.Random, default: Mapping[str, Any], sizes: Mapping[str, int]) -> Config:
    layers = {default[name] for name in DEPTHS if isinstance(default.get(name), int)}
    depth = sizes[DEPTHS[0]]
    found: Config = {}
    for name, value in default.items():
        if isinstance(value, Mapping) and name.endswith("_config"):
            found[name] = _anew(rng, value, sizes)
        elif isinstance(value, list) and len(value) in layers and len(value) > 1:
            found[name] = (value * depth)[:depth] if len(set(map(str, value))) < 2 else _of_each_kind(value, depth)
        elif name.endswith("_token_id") and isinstance(value, int):
            found[name] = min(value, 2)
        elif name in sizes and isinstance(value, int) and not isinstance(value, bool):
            found[name] = sizes[name]
        else:
            found[name] = value
    return found


def _of_each_kind(of_layers: list[Any], depth: int) -> list[Any]:
    """The last layers, of which the last is often of another kind than the first."""
    kinds = list(dict.fromkeys(map(str, of_layers)))
    first = [next(value for value in of_layers if str(value) == kind) for kind in kinds]
    return (first * depth)[:depth]
