"""Decoders with layer norms that are not GPT-2's children: OPT, BLOOM, Falcon, MPT, StarCoder2, StableLM, Nemotron, Cohere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, Norm
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.sizes import MOSAIC_NAMES, plain_sizes, sizes
from estimators.architectures.builders.windows import window_of, windows_of
from estimators.architectures.decoder import Decoder
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

GAIN_ONLY = Norm(written="layer")
COHERE_NORM = Norm(written="layer_written_out")
NEMOTRON_NORM = Norm(bias=True, written="layer_plus_one")
OPT_POSITION_OFFSET = 2
"""OPT numbers positions from 2 and has as many rows more."""


def opt(f: Fields, name: str, source: Source) -> Decoder:
    """OPT: learned positions, biases everywhere; OPT-350M alone has a narrower embedding and norms behind the layers."""
    names = {"ffn_width": ("ffn_dim",), "activation": ("activation_function",)}
    s = plain_sizes(
        f, vocab=50272, width=768, layers=12, heads=12, positions=2048, ffn_width=3072, tied=True, activation="relu", names=names
    )
    bias, affine = f.flag("enable_bias", True), f.flag("layer_norm_elementwise_affine", True)
    norm = Norm(gain=affine, bias=affine, written="layer")
    before = f.flag("do_layer_norm_before", True)
    attention, feed_forward = attention_of(s, bias=bias, rotary=False), feed_forward_of(s, bias=bias)
    model = decoder(name, source, s, attention, feed_forward, norm=norm, prenorm=before, norm_of_sum=not before)
    edge = f.integer("word_embed_proj_dim", default=s.width)
    ends_in_norm = before and not f.flag("_remove_final_layer_norm", False)
    return replace(
        model,
        positions=s.positions + OPT_POSITION_OFFSET,
        embedding_width=None if edge == s.width else edge,
        final_norm=norm if ends_in_norm else None,
    )


BLOOM_NAMES: Mapping[str, tuple[str, ...]] = {
    "width": ("n_embed", "hidden_size"),
    "layers": ("n_layer", "num_hidden_layers"),
    "heads": ("n_head", "num_attention_heads"),
    "ffn_width": (),
    "positions": ("seq_length",),
    "activation": (),
}


def bloom(f: Fields, name: str, source: Source) -> Decoder:
    """BLOOM: ALiBi in place of positions, a norm behind the embedding, one qkv matrix, biases everywhere."""
    s = plain_sizes(f, vocab=250880, width=64, layers=2, heads=8, positions=2048, tied=True, activation="gelu", names=BLOOM_NAMES)
    attention = replace(attention_of(s, bias=True, fused=True, rotary=False), scores="written_out")
    model = decoder(name, source, s, attention, feed_forward_of(s, bias=True), norm=LAYER_NORM)
    return replace(model, embedding_norm=LAYER_NORM)


def falcon(f: Fields, name: str, source: Source) -> Decoder:
    """Falcon: one qkv matrix; RW sequential with ALiBi, 7B multi-query and parallel behind one norm, 40B grouped and behind two.

    transformers caches the new architecture's keys once per head; what a kernel must read is one per key-value head.
    """
    s = sizes(
        f,
        vocab=65024,
        width=4544,
        layers=32,
        heads=71,
        positions=2048,
        tied=True,
        head_key="",
        kv_key="num_kv_heads",
        activation="gelu",
        names={"width": ("n_embed", "hidden_size"), "ffn_width": ("ffn_hidden_size",), "activation": ("activation",)},
    )
    new, parallel = f.flag("new_decoder_architecture", False), f.flag("parallel_attn", True)
    bias, in_parallel = f.flag("bias", False), f.integer("num_ln_in_parallel_attn", default=2 if new else 1)
    if new and not parallel:
        raise f.fail("parallel_attn", False, "true with new_decoder_architecture, which is always parallel")
    if in_parallel > (2 if new else 1):
        raise f.fail("num_ln_in_parallel_attn", in_parallel, "1, or 2 with new_decoder_architecture")
    if not new and f.flag("multi_query", True):
        s = replace(s, kv_heads=1)
    elif not new and s.kv_heads != s.heads:
        raise f.fail("num_kv_heads", s.kv_heads, f"{s.heads}, as many as heads, without multi_query and new_decoder_architecture")
    alibi = f.flag("alibi", False)
    attention = replace(
        attention_of(s, bias=bias, fused=True, rotary=not alibi),
        scores="unfused" if s.kv_heads < s.heads and not new else "fused",
        mask_heads=s.heads if alibi else 1,
        repeats_keys=new,
    )
    feed_forward = feed_forward_of(s, bias=bias)
    norms = in_parallel if parallel else 2
    return decoder(name, source, s, attention, feed_forward, norms=norms, norm=LAYER_NORM, parallel=parallel)


def mpt(f: Fields, name: str, source: Source) -> Decoder:
    """MPT as transformers runs it: ALiBi, one qkv matrix, a feed-forward of four times the width, no bias anywhere."""
    nested = f.config.get("attn_config") or {}
    if not isinstance(nested, dict):
        raise f.fail("attn_config", nested, "an object")
    fixed = {"expansion_ratio": 4, "no_bias": True}
    fixed_inside = {"attn_type": "multihead_attention", "qk_ln": False, "alibi": True, "prefix_lm": False}
    for fields, values in ((f.config, fixed), (nested, fixed_inside)):
        for key, value in values.items():
            if fields.get(key) not in (None, value):
                raise f.fail(key, fields[key], f"{str(value).lower()}: transformers' MPT has no other")
    s = plain_sizes(f, vocab=50368, width=2048, layers=24, heads=16, positions=2048, tied=True, activation="gelu", names=MOSAIC_NAMES)
    attention = replace(attention_of(s, fused=True, rotary=False), scores="written_out")
    return decoder(name, source, s, attention, feed_forward_of(s), norm=GAIN_ONLY)


def starcoder2(f: Fields, name: str, source: Source) -> Decoder:
    """StarCoder2: grouped-query attention, rotary, a plain feed-forward, biases, possibly a sliding window."""
    s = sizes(
        f,
        vocab=49152,
        width=3072,
        layers=30,
        heads=24,
        kv_heads=2,
        positions=4096,
        ffn_width=12288,
        tied=True,
        activation="gelu_pytorch_tanh",
    )
    bias = f.flag("use_bias", True)
    attention = attention_of(s, bias=bias, window=window_of(f, None))
    return decoder(name, source, s, attention, feed_forward_of(s, bias=bias), norm=LAYER_NORM)


def stablelm(f: Fields, name: str, source: Source) -> Decoder:
    """StableLM: layer norms around a gated feed-forward, partly rotary; the 12B is parallel behind one norm, with query-key norms."""
    s = sizes(f, vocab=50304, width=2560, layers=32, heads=32, kv_heads=32, positions=4096, ffn_width=6912, head_key="")
    attention = replace(attention_of(s, bias=f.flag("use_qkv_bias", False), out_bias=False), by_head=True)
    if f.flag("qk_layernorm", False):
        attention = replace(with_qk_norm(attention, over_all_heads=True, form="layer"), qk_norm_by_head=True)
    parallel, feed_forward = f.flag("use_parallel_residual", False), feed_forward_of(s, gated=True)
    return decoder(name, source, s, attention, feed_forward, norms=1 if parallel else 2, norm=LAYER_NORM, parallel=parallel)


def nemotron(f: Fields, name: str, source: Source) -> Decoder:
    """Nemotron-3 and -4, Minitron: layer norms, partly rotary, squared ReLU between two matrices."""
    s = sizes(f, vocab=256000, width=6144, layers=32, heads=48, positions=4096, ffn_width=24576, activation="relu2")
    feed_forward = feed_forward_of(s, bias=f.flag("mlp_bias", False))
    attention = replace(attention_of(s, bias=f.flag("attention_bias", False)), by_head=True)
    return decoder(name, source, s, attention, feed_forward, norm=NEMOTRON_NORM)


def cohere(f: Fields, name: str, source: Source) -> Decoder:
    """Command R: attention and a gated feed-forward in parallel behind one norm without bias; the plus version has query-key norms."""
    s = sizes(f, vocab=256000, width=8192, layers=40, heads=64, positions=8192, ffn_width=22528, tied=True)
    attention = attention_of(s, bias=f.flag("attention_bias", False))
    if f.flag("use_qk_norm", False):
        attention = replace(with_qk_norm(attention, over_all_heads=True, form="layer_written_out"), qk_norm_by_head=True)
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True), norms=1, norm=COHERE_NORM, parallel=True)


def cohere2(f: Fields, name: str, source: Source) -> Decoder:
    """Command R7B and A: three layers with a window and rotary positions, then one that sees everything and has none."""
    s = sizes(f, vocab=256000, width=8192, layers=40, heads=64, positions=8192, ffn_width=22528, tied=True)
    every = f.integer("sliding_window_pattern", default=4)
    bias = f.flag("attention_bias", False)
    windows = windows_of(f, s.layers, window_of(f, 4096), lambda i: (i + 1) % every != 0)
    layer = {window: attention_of(s, bias=bias, rotary=window is not None, window=window) for window in set(windows)}
    attentions = [layer[window] for window in windows]
    return decoder(name, source, s, attentions, feed_forward_of(s, gated=True), norms=1, norm=COHERE_NORM, parallel=True)
