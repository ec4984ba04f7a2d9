"""Llama and its kin: RMS norms, rotary positions, a gated feed-forward, grouped-query attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import Norm
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.layers import windowed
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.builders.sizes import Sizes, partial_rotary, sizes
from estimators.architectures.builders.windows import window_of, windows_of
from estimators.architectures.decoder import Decoder
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

BARE_NORM = Norm(gain=False, written="layer_in_fp32")
WIDE_NORM = Norm(written="rms_wide")


def llama(f: Fields, name: str, source: Source) -> Decoder:
    """Llama 1 to 3."""
    s = sizes(f, vocab=32000, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), feed_forward)


def mistral(f: Fields, name: str, source: Source) -> Decoder:
    """Mistral: Llama without biases, with a sliding window in its first version (stated as null in later ones)."""
    s = sizes(f, vocab=32000, width=4096, layers=32, heads=32, kv_heads=8, positions=4096 * 32, ffn_width=14336)
    return decoder(name, source, s, attention_of(s, window=window_of(f, 4096)), feed_forward_of(s, gated=True))


def ministral(f: Fields, name: str, source: Source) -> Decoder:
    """Ministral 8B: Mistral with a sliding window on the layers that say so, all of them by default."""
    s = sizes(f, vocab=32000, width=4096, layers=32, heads=32, kv_heads=8, positions=4096 * 32, ffn_width=14336)
    window = window_of(f, 4096)
    windows = windows_of(f, s.layers, window, lambda _: window is not None)
    return decoder(name, source, s, windowed(attention_of(s), windows), feed_forward_of(s, gated=True))


def ministral3(f: Fields, name: str, source: Source) -> Decoder:
    """Ministral 3: Mistral without a window unless it states one."""
    s = sizes(f, vocab=131072, width=4096, layers=34, heads=32, kv_heads=8, head_width=128, positions=262144, ffn_width=14336)
    attention = replace(attention_of(s, window=window_of(f, None)), angle_elements=1)
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True))


def phi3(f: Fields, name: str, source: Source) -> Decoder:
    """Phi-3 mini and medium, Phi-3.5 mini, Phi-4: one qkv matrix, one for gate and up, possibly a sliding window."""
    s = sizes(f, vocab=32064, width=3072, layers=32, heads=32, positions=4096, ffn_width=8192)
    attention = replace(attention_of(s, fused=True, window=window_of(f, None)), by_head=True)
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True, fused=True))


def qwen2(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen1.5 to 2.5: biases on query, key and value; a window, where one is used, on the layers from max_window_layers on."""
    s = sizes(f, vocab=151936, width=4096, layers=32, heads=32, kv_heads=32, positions=32768, ffn_width=22016)
    model = _qwen(f, name, source, s, bias=True, out_bias=False, qk_norm=False)
    return with_prediction(f, model, model.blocks[-1])  # MiMo's


def qwen2_vl_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Qwen2-VL and Qwen2.5-VL: Qwen2 with other defaults and positions in three dimensions."""
    s = sizes(f, vocab=152064, width=8192, layers=80, heads=64, kv_heads=8, positions=32768, ffn_width=29568)
    return _qwen(f, name, source, s, bias=True, out_bias=False, qk_norm=False, max_window_layers=80)


def qwen2_5_omni_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Qwen2.5-Omni: as that of Qwen2.5-VL, with other defaults."""
    s = sizes(f, vocab=152064, width=3584, layers=28, heads=28, kv_heads=4, positions=32768, ffn_width=18944, tied=True)
    return _qwen(f, name, source, s, bias=True, out_bias=False, qk_norm=False)


def qwen3(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen3: norms on queries and keys in place of the biases."""
    s = sizes(f, vocab=151936, width=4096, layers=32, heads=32, kv_heads=32, head_width=128, positions=32768, ffn_width=22016)
    bias = f.flag("attention_bias", False)
    return _qwen(f, name, source, s, bias=bias, out_bias=bias, qk_norm=True)


def qwen3_vl_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Qwen3-VL: Qwen3 without windows and with positions in three dimensions."""
    s = sizes(f, vocab=151936, width=4096, layers=32, heads=32, kv_heads=32, head_width=128, positions=128000, ffn_width=22016)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False)
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True))


def _qwen(
    f: Fields, name: str, source: Source, s: Sizes, *, bias: bool, out_bias: bool, qk_norm: bool, max_window_layers: int = 28
) -> Decoder:
    window = window_of(f, 4096) if f.flag("use_sliding_window", False) else None
    first = f.integer("max_window_layers", default=max_window_layers, minimum=0)
    attention = attention_of(s, bias=bias, out_bias=out_bias)
    if qk_norm:
        attention = with_qk_norm(attention, over_all_heads=False)
    windows = windows_of(f, s.layers, window, lambda i: window is not None and i >= first)
    return decoder(name, source, s, windowed(attention, windows), feed_forward_of(s, gated=True))


def granite(f: Fields, name: str, source: Source) -> Decoder:
    """Granite 3: Llama with multipliers, which cost nothing that is counted."""
    return llama(f, name, source)


def olmo(f: Fields, name: str, source: Source) -> Decoder:
    """OLMo: Llama with layer norms that have no parameters."""
    s = sizes(f, vocab=50304, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), feed_forward_of(s, gated=True), norm=BARE_NORM)


def olmo2(f: Fields, name: str, source: Source) -> Decoder:
    """OLMo 2: norms behind attention and feed-forward, and one on all queries and all keys together."""
    s = sizes(f, vocab=50304, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=True, form="rms_wide")
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True), norm=WIDE_NORM, prenorm=False)


def olmo3(f: Fields, name: str, source: Source) -> Decoder:
    """OLMo 3: OLMo 2 with a sliding window on three layers of four."""
    s = sizes(f, vocab=50304, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=True, form="rms_wide")
    windows = windows_of(f, s.layers, window_of(f, 4096), lambda i: (i + 1) % 4 != 0)
    layers = windowed(attention, windows)
    return decoder(name, source, s, layers, feed_forward_of(s, gated=True), norm=WIDE_NORM, prenorm=False)


def glm(f: Fields, name: str, source: Source) -> Decoder:
    """GLM-4 of 2024: biases on query, key and value, partly rotary, one matrix for gate and up."""
    s = sizes(f, vocab=151552, width=4096, layers=40, heads=32, kv_heads=2, head_width=128, positions=131072, ffn_width=13696)
    return _glm(f, name, source, s, bias=f.flag("attention_bias", True))


def _glm(f: Fields, name: str, source: Source, s: Sizes, *, bias: bool) -> Decoder:
    attention = attention_of(s, bias=bias, out_bias=False)
    turned = 2 * int(s.head_width * partial_rotary(f, 0.5) / 2)
    return decoder(name, source, s, replace(attention, by_head=True, angle_elements=2 * turned), feed_forward_of(s, gated=True, fused=True))


def glm4(f: Fields, name: str, source: Source) -> Decoder:
    """GLM-4-0414: GLM-4 with norms before and behind attention and feed-forward."""
    model = glm(f, name, source)
    return replace(model, blocks=(replace(model.blocks[0], norms=4),))


def glm4v_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of GLM-4.1V: GLM-4-0414 with positions in three dimensions, always with its biases."""
    s = sizes(f, vocab=151552, width=4096, layers=40, heads=32, kv_heads=2, positions=32768, ffn_width=13696, head_key="")
    model = _glm(f, name, source, s, bias=True)
    return replace(model, blocks=(replace(model.blocks[0], norms=4),))
