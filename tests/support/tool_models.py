"""Models that the tests of other tools' conventions count: of the registry, by shape, and of papers."""

from __future__ import annotations

from typing import Any

from estimators.architectures.attention import Attention
from estimators.architectures.block import Block, Norm
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from estimators.spec import Model, Source


def registered(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


def gpt(layers: int = 12, width: int = 768, vocab: int = 50257, positions: int = 1024, heads: int = 12) -> Model:
    return model_from_config(
        {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads, "vocab_size": vocab, "n_positions": positions}, "gpt"
    )


def without_biases() -> Decoder:
    """GPT-2 as nanoGPT's notebook has it: no biases, norms with a gain alone."""
    attention = Attention(heads=12, kv_heads=12, head_width=64, fused=True, rotary=False)
    block = Block(count=12, parts=(("attention", attention), ("mlp", FeedForward(width=3072))), norms=2, norm=Norm())
    return Decoder(
        name="nanoGPT",
        source=Source(title="karpathy/nanoGPT transformer_sizing.ipynb"),
        vocab=50257,
        width=768,
        blocks=(block,),
        positions=1024,
        max_positions=1024,
        tied=True,
    )


def palm_540b() -> Decoder:
    """118 layers, D 18,432, 48 heads of 256 over one key and value, gated F = 4·D, attention and feed-forward in parallel, tied."""
    attention = Attention(heads=48, kv_heads=1, head_width=256)
    feed_forward = FeedForward(width=73_728, gated=True)
    block = Block(count=118, parts=(("attention", attention), ("mlp", feed_forward)), norms=1, norm=Norm())
    return Decoder(
        name="PaLM 540B",
        source=Source(title="Chowdhery et al. 2022, table 1"),
        vocab=256_000,
        width=18_432,
        blocks=(block,),
        max_positions=2048,
        tied=True,
    )


GEMMA: dict[str, Any] = {"model_type": "gemma", "vocab_size": 256_000, "head_dim": 256}
DEEPSEEK_V2_LITE: dict[str, Any] = {
    "model_type": "deepseek_v2",
    "vocab_size": 102_400,
    "hidden_size": 2048,
    "intermediate_size": 10_944,
    "num_hidden_layers": 27,
    "moe_intermediate_size": 1408,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
GEMMA_7B = GEMMA | {
    "hidden_size": 3072,
    "intermediate_size": 24_576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
}
GEMMA_2B = GEMMA | {
    "hidden_size": 2048,
    "intermediate_size": 16_384,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
}
DEEPSEEK_V3: dict[str, Any] = DEEPSEEK_V2_LITE | {
    "model_type": "deepseek_v3",
    "vocab_size": 129_280,
    "hidden_size": 7168,
    "intermediate_size": 18_432,
    "num_hidden_layers": 61,
    "moe_intermediate_size": 2048,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "num_nextn_predict_layers": 1,
}
DEEPSEEK_V2: dict[str, Any] = DEEPSEEK_V2_LITE | {
    "hidden_size": 5120,
    "intermediate_size": 12_288,
    "num_hidden_layers": 60,
    "moe_intermediate_size": 1536,
    "q_lora_rank": 1536,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_routed_experts": 160,
}


QWEN3: dict[str, Any] = {
    "model_type": "qwen3_moe",
    "vocab_size": 151_936,
    "head_dim": 128,
    "num_key_value_heads": 4,
    "num_experts": 128,
    "num_experts_per_tok": 8,
}
QWEN3_235B = QWEN3 | {"hidden_size": 4096, "moe_intermediate_size": 1536, "num_hidden_layers": 94, "num_attention_heads": 64}
QWEN3_30B = QWEN3 | {"hidden_size": 2048, "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32}
