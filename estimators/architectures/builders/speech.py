"""Whisper: an encoder over the spectrogram of 30 seconds, a decoder over text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.parts import attention, class_named, head_width
from estimators.architectures.builders.parts import layers as stacked
from estimators.architectures.encoder import Tower
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import FrameStem, Stem, TokenStem
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def encoder_of_whisper(f: Fields, *, width: int, layers: int, heads: int, inner: int, bins: int) -> tuple[Tower, int]:
    """Whisper's encoder as other models have it, and the width of its feed-forward; the arguments are their defaults.

    Raises:
        BadConfigError: fields that make no sense.
    """
    d, n = f.integer("d_model", "hidden_size", default=width), f.integer("encoder_attention_heads", "num_attention_heads", default=heads)
    inner = f.integer("encoder_ffn_dim", "intermediate_size", default=inner)
    block = stacked(
        f.integer("encoder_layers", "num_hidden_layers", default=layers),
        attention(n, head_width(f, "encoder_attention_heads", n, "d_model", d), key_bias=False, by_head=True),
        FeedForward(width=inner, activation=f.text("activation_function", default="gelu"), bias=True),
    )
    stem = FrameStem(bins=f.integer("num_mel_bins", default=bins), positions=f.integer("max_source_positions", default=1500))
    return Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM), inner


def whisper(f: Fields, name: str, source: Source) -> EncoderDecoder:
    """Whisper: WhisperForConditionalGeneration, WhisperModel (without head); keys have no bias, norms before the parts."""
    known = ("WhisperForConditionalGeneration", "WhisperModel")
    runs = class_named(f, known, known[0])
    d, v = f.integer("d_model", "hidden_size", default=384), f.integer("vocab_size", default=51865)
    frames, longest = f.integer("max_source_positions", default=1500), f.integer("max_target_positions", default=448)

    def tower(side: str, stem: Stem, *, causal: bool) -> Tower:
        key = f"{side}_attention_heads"
        n = f.integer(key, default=6)
        h = head_width(f, key, n, "d_model", d)
        feed_forward = FeedForward(
            width=f.integer(f"{side}_ffn_dim", default=1536), activation=f.text("activation_function", default="gelu"), bias=True
        )
        cross = attention(n, h, key_bias=False, cross=True, by_head=True) if causal else None
        block = stacked(
            f.integer(f"{side}_layers", default=4), attention(n, h, key_bias=False, causal=causal, by_head=True), feed_forward, cross=cross
        )
        return Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM)

    return EncoderDecoder(
        name=name,
        source=source,
        runs=runs,
        encoder=tower("encoder", FrameStem(bins=f.integer("num_mel_bins", default=80), positions=frames), causal=False),
        decoder=tower("decoder", TokenStem(vocab=v, positions=longest), causal=True),
        vocab=v if runs == known[0] else 0,
        max_positions=longest,
        source_positions=frames,
        tied=f.flag("tie_word_embeddings", True),
    )
