"""From a config's fields to a family's dataclass. A missing field takes the default of transformers' config class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.decoder import Decoder
from estimators.architectures.dense import DenseNetwork
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.hf_config import Fields


def dense_network(f: Fields, name: str, source: Source) -> DenseNetwork:
    """`widths` and `activation`: the project's own format for the article's small models."""
    activation = f.choice("activation", "sigmoid", ("sigmoid", "relu", "tanh", "none"))
    return DenseNetwork(name=name, source=source, widths=f.integers("widths", minimum_length=2), activation=activation)


def gpt2(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-2 and GPT-3: learned positions, one qkv matrix, biases everywhere, tied head."""
    width = f.integer("n_embd", "hidden_size", default=768)
    heads = f.integer("n_head", "num_attention_heads", default=12)
    f.divides("n_head", heads, "n_embd", width)
    positions = f.integer("n_positions", "max_position_embeddings", "n_ctx", default=1024)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=50257),
        width=width,
        layers=f.integer("n_layer", "num_hidden_layers", default=12),
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        ffn_width=f.integer("n_inner", default=4 * width),
        positions=positions,
        max_positions=positions,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        fused_qkv=True,
        norm_bias=True,
        tied=f.flag("tie_word_embeddings", True),
    )


def phi(f: Fields, name: str, source: Source) -> Decoder:
    """Phi-1, 1.5, 2: attention and feed-forward in parallel behind one norm, biases everywhere, untied head with bias."""
    width = f.integer("hidden_size", default=2048)
    heads = f.integer("num_attention_heads", default=32)
    kv_heads = f.integer("num_key_value_heads", default=heads)
    f.divides("num_attention_heads", heads, "hidden_size", width)
    f.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=51200),
        width=width,
        layers=f.integer("num_hidden_layers", default=24),
        heads=heads,
        kv_heads=kv_heads,
        head_width=width // heads,
        ffn_width=f.integer("intermediate_size", default=8192),
        max_positions=f.integer("max_position_embeddings", default=2048),
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        head_bias=True,
        norm_bias=True,
        norms_per_layer=1,
        qk_norm=f.flag("qk_layernorm", False),
        tied=f.flag("tie_word_embeddings", False),
    )


def llama(f: Fields, name: str, source: Source) -> Decoder:
    """Llama 1 to 3: RMS norm, rotary positions, gated feed-forward, grouped-query attention."""
    width = f.integer("hidden_size", default=4096)
    heads = f.integer("num_attention_heads", default=32)
    kv_heads = f.integer("num_key_value_heads", default=heads)
    f.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    head_width = f.optional_integer("head_dim")
    if head_width is None:
        f.divides("num_attention_heads", heads, "hidden_size", width)
        head_width = width // heads
    attention_bias = f.flag("attention_bias", False)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=32000),
        width=width,
        layers=f.integer("num_hidden_layers", default=32),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        ffn_width=f.integer("intermediate_size", default=11008),
        max_positions=f.integer("max_position_embeddings", default=2048),
        gated=True,
        qkv_bias=attention_bias,
        out_bias=attention_bias,
        ffn_bias=f.flag("mlp_bias", False),
        tied=f.flag("tie_word_embeddings", False),
    )


def mistral(f: Fields, name: str, source: Source) -> Decoder:
    """Mistral: Llama without biases, with a sliding window in its first version."""
    width = f.integer("hidden_size", default=4096)
    heads = f.integer("num_attention_heads", default=32)
    kv_heads = f.integer("num_key_value_heads", default=8)
    f.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    head_width = f.optional_integer("head_dim")
    if head_width is None:
        f.divides("num_attention_heads", heads, "hidden_size", width)
        head_width = width // heads
    window_stated = "sliding_window" in f.config
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=32000),
        width=width,
        layers=f.integer("num_hidden_layers", default=32),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        ffn_width=f.integer("intermediate_size", default=14336),
        max_positions=f.integer("max_position_embeddings", default=4096 * 32),
        gated=True,
        window=f.optional_integer("sliding_window") if window_stated else 4096,
        tied=f.flag("tie_word_embeddings", False),
    )
