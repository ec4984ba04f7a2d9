"""A tiny model of any type that transformers knows, if its configuration takes the usual names, and a batch as Trainer gives it."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto import modeling_auto

_WIDTHS = (
    "hidden_size",
    "d_model",
    "n_embd",
    "dim",
    "embed_dim",
    "embedding_size",
    "word_embed_proj_dim",
    "attention_hidden_size",
    "lru_width",
)
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
_HEADS = (
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "num_key_value_heads",
)
_INNER = ("intermediate_size", "n_inner", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "ffn_hidden_size", "hidden_dim")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
TINY: dict[str, Any] = {
    **dict.fromkeys(_WIDTHS, 32),
    **dict.fromkeys(_DEPTHS, 2),
    **dict.fromkeys(_HEADS, 2),
    **dict.fromkeys(_INNER, 64),
    **dict.fromkeys(_EXPERTS, 4),
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "sliding_window": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
    "decoder_start_token_id": 0,
    "head_dim": 16,
    "d_kv": 16,
    "rotary_dim": 8,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "v_head_dim": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "qk_head_dim": 24,
    "state_size": 8,
    "time_step_rank": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
"""Field of a configuration -> its value, where the type has such a field."""

MAX_PARAMS = 10_000_000


def types_of(task: str) -> list[str]:
    """Every model type that has a class for the task, such as CAUSAL_LM."""
    return sorted(getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES"))


def tiny(model_type: str, task: str) -> Any:
    """The model, in training mode, with eager attention. Raises whatever transformers raises where the fields do not suit its type."""
    usual = transformers.AutoConfig.for_model(model_type)
    fields = {name: value for name, value in TINY.items() if _takes(usual, name)}
    config = type(usual)(**fields)
    named = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")[model_type]
    kind = getattr(transformers, named if isinstance(named, str) else named[0])
    with torch.device("meta"):
        size = sum(p.numel() for p in kind._from_config(config).parameters())
    if size > MAX_PARAMS:
        raise ValueError(f"{model_type} stays large: {size} parameters")
    torch.manual_seed(0)
    model = kind._from_config(config, attn_implementation="eager").train()
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation(
            "eager"
        )  # one expert after the other: no product of a token with an expert that it was not routed to
    return model


def _takes(usual: Any, name: str) -> bool:
    if name == "q_lora_rank":
        return getattr(usual, name, None) is not None
    return hasattr(usual, name) or name.endswith("token_id")


def batch_for(model: nn.Module, task: str) -> dict[str, Any]:
    """Two rows, one of them padded, as far as forward names them."""
    ids = torch.randint(3, 64, (2, 16), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, -4:] = 0
    labels = {
        "SEQUENCE_CLASSIFICATION": torch.tensor([0, 1]),
        "TOKEN_CLASSIFICATION": torch.ones_like(ids),
        "MULTIPLE_CHOICE": torch.tensor([0, 1]),
    }.get(task, ids)
    if task == "MULTIPLE_CHOICE":
        ids, mask = (t[:, None].repeat(1, 3, 1) for t in (ids, mask))
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False}
    parameters = inspect.signature(model.forward).parameters
    if task == "CAUSAL_LM" and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        parameters, given = {**parameters, "num_items_in_batch": None}, given | {"num_items_in_batch": torch.tensor(28)}  # type: ignore[dict-item]
    return {name: value for name, value in given.items() if name in parameters}
