"""GPT-2 and what grew out of it: layer norms and biases, a feed-forward of two matrices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.sizes import MAX_VARIED_LAYERS, Sizes, plain_sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

GPT_NAMES = {
    "width": ("n_embd", "hidden_size"),
    "layers": ("n_layer", "num_hidden_layers"),
    "heads": ("n_head", "num_attention_heads"),
    "ffn_width": ("n_inner",),
    "positions": ("n_positions", "max_position_embeddings", "n_ctx"),
    "activation": ("activation_function",),
}


_gpt_sizes = partial(plain_sizes, names=GPT_NAMES)


def gpt2(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-2 and GPT-3: learned positions, one qkv matrix, biases everywhere, tied head."""
    s = _gpt_sizes(f, vocab=50257, width=768, layers=12, heads=12, positions=1024, tied=True, activation="gelu_new")
    return _learned_positions(decoder(name, source, s, _fused(s), feed_forward_of(s, bias=True), norm=LAYER_NORM))


def gpt_bigcode(f: Fields, name: str, source: Source) -> Decoder:
    """SantaCoder, StarCoder: GPT-2 with one key-value head for all heads, unless multi_query is false."""
    s = _gpt_sizes(f, vocab=50257, width=768, layers=12, heads=12, positions=1024, tied=True, activation="gelu_pytorch_tanh")
    if f.flag("multi_query", True):
        s = replace(s, kv_heads=1)
    return _learned_positions(decoder(name, source, s, _fused(s), feed_forward_of(s, bias=True), norm=LAYER_NORM))


def gpt_neo(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-Neo: learned positions, a bias on the attention's output alone, layers that see everything or a window.

    transformers keeps and multiplies every cached key in the windowed layers as well, and masks what is too old.
    """
    names = {
        "heads": ("num_heads", "num_attention_heads"),
        "layers": ("num_layers", "num_hidden_layers"),
        "activation": ("activation_function",),
    }
    s = plain_sizes(f, vocab=50257, width=2048, layers=24, heads=16, positions=2048, tied=True, activation="gelu_new", names=names)
    everything = replace(attention_of(s, out_bias=True, rotary=False), scores="written_out", wide_products=True)
    local = replace(everything, window=f.integer("window_size", default=256), trims_cache=False)
    kinds = {"global": everything, "local": local}
    attentions = [kinds[kind] for kind in _attention_layers(f, s.layers)]
    return _learned_positions(decoder(name, source, s, attentions, feed_forward_of(s, bias=True), norm=LAYER_NORM))


def gptj(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-J: partly rotary, attention without biases in parallel with a feed-forward behind one norm, a head with bias."""
    s = _gpt_sizes(f, vocab=50400, width=4096, layers=28, heads=16, positions=2048, tied=False, activation="gelu_new")
    attention = _turned_in_pairs(f, attention_of(s))
    model = decoder(name, source, s, attention, feed_forward_of(s, bias=True), norms=1, norm=LAYER_NORM, parallel=True)
    return replace(model, head_bias=True)


def codegen(f: Fields, name: str, source: Source) -> Decoder:
    """CodeGen: GPT-J with one qkv matrix, split in four for as many cores."""
    s = _gpt_sizes(f, vocab=50400, width=4096, layers=28, heads=16, positions=2048, tied=False, activation="gelu_new")
    f.divides("4 (cores that share the qkv matrix)", 4, "n_head", s.heads)
    attention = _turned_in_pairs(f, attention_of(s, fused=True))
    model = decoder(name, source, s, attention, feed_forward_of(s, bias=True), norms=1, norm=LAYER_NORM, parallel=True)
    return replace(model, head_bias=True)


def gpt_neox(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-NeoX, Pythia: one qkv matrix, partly rotary, two norms whether attention and feed-forward are parallel or not."""
    s = plain_sizes(f, vocab=50432, width=6144, layers=44, heads=64, positions=2048, ffn_width=24576, activation="gelu")
    attention = replace(attention_of(s, bias=f.flag("attention_bias", True), fused=True), by_head=True)
    parallel = f.flag("use_parallel_residual", True)
    return decoder(name, source, s, attention, feed_forward_of(s, bias=True), norm=LAYER_NORM, parallel=parallel)


def phi(f: Fields, name: str, source: Source) -> Decoder:
    """Phi-1, 1.5, 2: attention and feed-forward in parallel behind one norm, biases everywhere, untied head with bias."""
    s = sizes(f, vocab=51200, width=2048, layers=24, heads=32, positions=2048, ffn_width=8192, activation="gelu_new")
    attention = replace(attention_of(s, bias=True), by_head=True)
    if f.flag("qk_layernorm", False):
        attention = with_qk_norm(attention, over_all_heads=False, bias=True)
    model = decoder(name, source, s, attention, feed_forward_of(s, bias=True), norms=1, norm=LAYER_NORM, parallel=True)
    return replace(model, head_bias=True)


def _fused(s: Sizes) -> Attention:
    return attention_of(s, bias=True, fused=True, rotary=False)


def _turned_in_pairs(f: Fields, attention: Attention) -> Attention:
    """Queries and keys turned by angles that each layer repeats for both numbers of a pair, sines and cosines of each."""
    turned = f.optional_integer("rotary_dim") if "rotary_dim" in f.config else f.default("rotary_dim", 64)
    return replace(attention, angle_elements=4 * (turned or attention.inner_width))


def _learned_positions(model: Decoder) -> Decoder:
    return replace(model, positions=model.max_positions)


def _attention_layers(f: Fields, layers: int) -> list[str]:
    """GPT-Neo's `attention_types`, such as [[["global", "local"], 12]], spelled out layer by layer."""
    expected = f'pairs of kinds ("global", "local") and repeats, {layers} layers together, such as [[["global", "local"], 12]]'
    if layers > MAX_VARIED_LAYERS:
        raise f.fail("num_layers", layers, f"at most {MAX_VARIED_LAYERS:,} layers where they differ")
    stated = f.config.get("attention_types")
    pairs = [[["global", "local"], 12]] if stated is None else stated
    spelled: list[str] = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        kinds, repeats = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if not isinstance(kinds, list) or any(kind not in ("global", "local") for kind in kinds):
            raise f.fail("attention_types", stated, expected)
        if isinstance(repeats, bool) or not isinstance(repeats, int) or not 0 <= len(kinds) * repeats <= layers - len(spelled):
            raise f.fail("attention_types", stated, expected)
        spelled += kinds * repeats
    if len(spelled) != layers:
        raise f.fail("attention_types", stated, expected)
    return spelled
