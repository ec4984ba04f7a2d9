"""GPT-2 and what grew out of it: layer norms and biases, a feed-forward of two matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.common import heads_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.hf_config import Fields


def gpt2(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-2 and GPT-3: learned positions, one qkv matrix, biases everywhere, tied head."""
    width = f.integer("n_embd", "hidden_size", default=768)
    heads = f.integer("n_head", "num_attention_heads", default=12)
    f.divides("n_head", heads, "n_embd", width)
    positions = f.integer("n_positions", "max_position_embeddings", "n_ctx", default=1024)
    attention = Attention(
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        query_bias=True,
        key_bias=True,
        value_bias=True,
        out_bias=True,
        fused=True,
        rotary=False,
    )
    feed_forward = FeedForward(width=f.integer("n_inner", default=4 * width), bias=True)
    layers = f.integer("n_layer", "num_hidden_layers", default=12)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=50257),
        width=width,
        blocks=(Block(count=layers, parts=(("attention", attention), ("mlp", feed_forward)), norms=2, norm=LAYER_NORM),),
        positions=positions,
        max_positions=positions,
        final_norm=LAYER_NORM,
        tied=f.flag("tie_word_embeddings", True),
    )


def phi(f: Fields, name: str, source: Source) -> Decoder:
    """Phi-1, 1.5, 2: attention and feed-forward in parallel behind one norm, biases everywhere, untied head with bias."""
    width = f.integer("hidden_size", default=2048)
    heads, kv_heads, head_width = heads_of(f, width=width, heads=32, kv_heads=0)
    qk_norm = head_width if f.flag("qk_layernorm", False) else 0
    attention = Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        query_bias=True,
        key_bias=True,
        value_bias=True,
        out_bias=True,
        query_norm_width=qk_norm,
        key_norm_width=qk_norm,
        qk_norm_bias=True,
    )
    feed_forward = FeedForward(width=f.integer("intermediate_size", default=8192), bias=True)
    layers = f.integer("num_hidden_layers", default=24)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=51200),
        width=width,
        blocks=(Block(count=layers, parts=(("attention", attention), ("mlp", feed_forward)), norms=1, norm=LAYER_NORM),),
        max_positions=f.integer("max_position_embeddings", default=2048),
        final_norm=LAYER_NORM,
        tied=f.flag("tie_word_embeddings", False),
        head_bias=True,
    )
