"""One small model of every kind of layer that a builder has, as deep as is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Config = dict[str, Any]

VOCAB = 512
WIDTHS: Config = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
GPT: Config = {"vocab_size": VOCAB, "n_embd": 64, "n_head": 4, "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0}
HEADS: Config = {"head_dim": 16}
MIXTURE: Config = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
LATENT: Config = {
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "first_k_dense_replace": 0,
    "topk_group": 1,
}


def _full(depth: int) -> list[str]:
    return ["full_attention"] * depth


BY_DEPTH: Mapping[str, Mapping[str, Callable[[int], Any]]] = {
    "bloom": {"n_layer": int},
    "codegen": {"n_layer": int},
    "dbrx": {"n_layers": int},
    "exaone4": {"num_hidden_layers": int, "layer_types": _full},
    "falcon": {"num_hidden_layers": int},
    "gpt2": {"n_layer": int},
    "gpt_bigcode": {"n_layer": int},
    "gpt_neo": {"num_layers": int, "attention_types": lambda depth: [[["global"], depth]]},
    "gptj": {"n_layer": int},
    "llama4_text": {
        "num_hidden_layers": int,
        "layer_types": _full,
        "no_rope_layers": lambda depth: [1] * depth,
        "moe_layers": lambda depth: list(range(depth)),
    },
    "mpt": {"n_layers": int},
    "olmo3": {"num_hidden_layers": int, "layer_types": _full},
}
"""Fields that say how deep a model is, where that is not `num_hidden_layers` alone."""

DENSE: Mapping[str, Config] = {
    **dict.fromkeys(("arcee", "cohere", "granite", "internlm3", "llama", "nemotron", "olmo", "olmo2", "phi", "phi3"), WIDTHS),
    **dict.fromkeys(("qwen2", "smollm3", "stablelm", "starcoder2"), WIDTHS),
    **dict.fromkeys(("ernie4_5", "gemma", "glm", "glm4", "ministral3", "qwen3", "seed_oss"), WIDTHS | HEADS),
    **dict.fromkeys(("cohere2", "exaone4", "mistral", "olmo3"), WIDTHS | {"sliding_window": 4096}),
    **dict.fromkeys(("gemma2", "gemma3_text", "ministral"), WIDTHS | HEADS | {"sliding_window": 4096}),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), GPT),
    **dict.fromkeys(("codegen", "gptj"), GPT | {"rotary_dim": 4}),
    "bloom": {"vocab_size": VOCAB, "hidden_size": 64, "n_head": 4, "tie_word_embeddings": False},
    "falcon": {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "ffn_hidden_size": 176,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "gpt_neo": {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "num_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "gpt_neox": {key: value for key, value in WIDTHS.items() if key != "num_key_value_heads"},
    "mpt": {"vocab_size": VOCAB, "d_model": 64, "n_heads": 4, "max_seq_len": 256},
    "opt": WIDTHS | {"ffn_dim": 176, "word_embed_proj_dim": 64},
}
"""Decoders without experts: model_type -> its fields."""

EXPERTS: Mapping[str, Config] = {
    **dict.fromkeys(("granitemoe", "mixtral", "olmoe", "phimoe"), WIDTHS | MIXTURE),
    "dbrx": {
        "vocab_size": VOCAB,
        "d_model": 64,
        "n_heads": 4,
        "max_seq_len": 256,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
    },
    "deepseek_v2": WIDTHS | LATENT | {"n_group": 1},
    "deepseek_v3": WIDTHS | LATENT | {"n_group": 2},
    "ernie4_5_moe": WIDTHS | {"moe_intermediate_size": 48, "moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 0},
    "glm4_moe": WIDTHS | HEADS | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "first_k_dense_replace": 0},
    "gpt_oss": WIDTHS | HEADS | MIXTURE | {"sliding_window": 4096},
    "hunyuan_v1_moe": WIDTHS | HEADS | {"num_experts": 4, "moe_topk": 2},
    "llama4_text": WIDTHS
    | HEADS
    | {"intermediate_size_mlp": 112, "num_local_experts": 4, "num_experts_per_tok": 1, "attention_chunk_size": 4096},
    "qwen2_moe": WIDTHS | MIXTURE | {"moe_intermediate_size": 48, "shared_expert_intermediate_size": 80},
    "qwen3_moe": WIDTHS | HEADS | MIXTURE | {"moe_intermediate_size": 48},
}
"""Decoders with experts in every layer."""


def kind(model_type: str, fields: Mapping[str, Any], depth: int) -> Config:
    """The configuration of a family as deep as is said."""
    deep = BY_DEPTH.get(model_type, {"num_hidden_layers": int})
    return {"model_type": model_type, **fields} | {key: of_depth(depth) for key, of_depth in deep.items()}
