"""Llama and its kin: RMS norms, rotary positions, a gated feed-forward, grouped-query attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.builders.common import heads_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.hf_config import Fields


def llama(f: Fields, name: str, source: Source) -> Decoder:
    """Llama 1 to 3."""
    width = f.integer("hidden_size", default=4096)
    heads, kv_heads, head_width = heads_of(f, width=width, heads=32, kv_heads=0)
    bias = f.flag("attention_bias", False)
    attention = Attention(
        heads=heads, kv_heads=kv_heads, head_width=head_width, query_bias=bias, key_bias=bias, value_bias=bias, out_bias=bias
    )
    feed_forward = FeedForward(width=f.integer("intermediate_size", default=11008), gated=True, bias=f.flag("mlp_bias", False))
    layers = f.integer("num_hidden_layers", default=32)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=32000),
        width=width,
        blocks=(Block(count=layers, parts=(("attention", attention), ("mlp", feed_forward)), norms=2, norm=RMS_NORM),),
        max_positions=f.integer("max_position_embeddings", default=2048),
        tied=f.flag("tie_word_embeddings", False),
    )


def mistral(f: Fields, name: str, source: Source) -> Decoder:
    """Mistral: Llama without biases, with a sliding window in its first version (stated as null in later ones)."""
    width = f.integer("hidden_size", default=4096)
    heads, kv_heads, head_width = heads_of(f, width=width, heads=32, kv_heads=8)
    window = f.optional_integer("sliding_window") if "sliding_window" in f.config else 4096
    attention = Attention(heads=heads, kv_heads=kv_heads, head_width=head_width, window=window)
    feed_forward = FeedForward(width=f.integer("intermediate_size", default=14336), gated=True)
    layers = f.integer("num_hidden_layers", default=32)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=32000),
        width=width,
        blocks=(Block(count=layers, parts=(("attention", attention), ("mlp", feed_forward)), norms=2, norm=RMS_NORM),),
        max_positions=f.integer("max_position_embeddings", default=4096 * 32),
        tied=f.flag("tie_word_embeddings", False),
    )
