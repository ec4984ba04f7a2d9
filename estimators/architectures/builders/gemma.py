"""Gemma: wide heads, a gated feed-forward, a tied head of a quarter million tokens, windows that alternate from Gemma 2 on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from estimators.architectures.block import Norm
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.layers import windowed
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.builders.windows import window_of, windows_of
from estimators.architectures.decoder import Decoder
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

GEMMA_NORM = Norm(written="rms_plus_one")

_gemma_sizes = partial(sizes, head_width=256, tied=True, activation="gelu_pytorch_tanh")
_gemma2_sizes = partial(
    _gemma_sizes, width=2304, layers=26, heads=8, kv_heads=4, ffn_width=9216, names={"activation": ("hidden_activation", "hidden_act")}
)
"""Gemma 2's, which Gemma 3 has too but for vocabulary and positions."""


def gemma(f: Fields, name: str, source: Source) -> Decoder:
    """Gemma 1: heads of 256, whose sum need not be the model's width."""
    s = _gemma_sizes(f, vocab=256000, width=3072, layers=28, heads=16, kv_heads=16, positions=8192, ffn_width=24576)
    attention = replace(attention_of(s, bias=f.flag("attention_bias", False)), causal=_is_causal(f))
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True), norm=GEMMA_NORM)


def gemma2(f: Fields, name: str, source: Source) -> Decoder:
    """Gemma 2: norms before and behind, every other layer with a sliding window."""
    s = _gemma2_sizes(f, vocab=256000, positions=8192)
    model = _alternating(f, name, source, s, window=window_of(f, 4096), every=2, qk_norm=False)
    return replace(model, capped=f.config.get("final_logit_softcapping", 30.0) is not None)


def vaultgemma(f: Fields, name: str, source: Source) -> Decoder:
    """VaultGemma: Gemma 2 without the norms behind."""
    model = gemma2(f, name, source)
    return replace(model, blocks=tuple(replace(block, norms=2) for block in model.blocks))


def gemma3_text(f: Fields, name: str, source: Source) -> Decoder:
    """Gemma 3's language part: norms on queries and keys, five layers with a window, then one that sees everything."""
    s = _gemma2_sizes(f, vocab=262208, positions=131072)
    window = window_of(f, 4096)
    if window is not None and not _is_causal(f):
        window = window // 2 + 1  # stated over both sides, itself included
    every = f.integer("sliding_window_pattern", default=6)
    return _alternating(f, name, source, s, window=window, every=every, qk_norm=True)


def _alternating(f: Fields, name: str, source: Source, s: Sizes, *, window: int | None, every: int, qk_norm: bool) -> Decoder:
    attention = replace(attention_of(s, bias=f.flag("attention_bias", False)), causal=_is_causal(f))
    if qk_norm:
        attention = with_qk_norm(attention, over_all_heads=False, form="rms_plus_one")
    else:
        attention = replace(attention, scores="written_out", capped=True)
    windows = windows_of(f, s.layers, window, lambda i: (i + 1) % every != 0)
    attentions = windowed(attention, windows)
    return decoder(name, source, s, attentions, feed_forward_of(s, gated=True), norms=4, norm=GEMMA_NORM)


def _is_causal(f: Fields) -> bool:
    return not f.flag("use_bidirectional_attention", False)
