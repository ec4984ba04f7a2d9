"""Encoder-decoders over text: T5 and BART, and what grew out of them.

The class of transformers that `architectures` names decides whether there is a head; without it, the one that generates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, RMS_NORM, Norm
from estimators.architectures.builders.parts import attention, class_named, head_width, layers
from estimators.architectures.encoder import Encoder, Tower
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import TokenStem
from estimators.spec import Model, Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def t5(f: Fields, name: str, source: Source) -> Model:
    """T5, T5 1.1 and Flan-T5: T5ForConditionalGeneration, T5Model (without head), T5EncoderModel (without decoder).

    Where `tie_word_embeddings` is false the head is a matrix of its own, as in the published checkpoints: transformers 5
    ties it when it builds the model and separates it when it loads one.
    """
    return _t5_like(f, name, source, "T5", {"T5WithLMHeadModel": "T5ForConditionalGeneration"}, vocab=32128, d_ff=2048, layers_default=6)


def mt5(f: Fields, name: str, source: Source) -> Model:
    """mT5: MT5ForConditionalGeneration and its kin; T5 1.1 with a larger vocabulary."""
    return _t5_like(f, name, source, "MT5", {}, vocab=250112, d_ff=1024, layers_default=8, heads=6, activation="gated-gelu")


def umt5_encoder(f: Fields, name: str, source: Source) -> Model:
    """UMT5EncoderModel: mT5's encoder with a table of biases in every layer, as a pipeline's reader of text. Raises BadConfigError."""
    read = f.config.get("architectures")
    if read != ["UMT5EncoderModel"]:
        raise f.fail("architectures", read, "UMT5EncoderModel alone")
    return _t5_like(f, name, source, "UMT5", {}, vocab=250112, d_ff=1024, layers_default=8, heads=6, activation="gated-gelu", own_bias=True)


def _t5_like(
    f: Fields,
    name: str,
    source: Source,
    base: str,
    old_names: dict[str, str],
    *,
    vocab: int,
    d_ff: int,
    layers_default: int,
    heads: int = 8,
    activation: str = "relu",
    own_bias: bool = False,
) -> Model:
    """What T5 and its kin share; `own_bias` where each layer has a table of biases of its own."""
    d, v = f.integer("d_model", "hidden_size", default=512), f.integer("vocab_size", default=vocab)
    n, h = f.integer("num_heads", "num_attention_heads", default=heads), f.integer("d_kv", default=64)
    known = [f"{base}{kind}" for kind in ("ForConditionalGeneration", "Model", "EncoderModel")]
    named = class_named(f, (*known, *old_names), known[0])
    runs = old_names.get(named, named)
    gated, function = _activation(f, activation)
    feed_forward = FeedForward(width=f.integer("d_ff", default=d_ff), gated=gated, activation=function, widened=True)
    buckets = f.integer("relative_attention_num_buckets", default=32)
    depth = f.integer("num_layers", "num_hidden_layers", default=layers_default)

    def tower(count: int, *, causal: bool, shared: bool = False) -> Tower:
        own = attention(n, h, bias=False, out_bias=False, causal=causal, scores="biased")
        cross = attention(n, h, bias=False, out_bias=False, cross=True) if causal else None
        stem = TokenStem(vocab=v, shared=shared, bias_buckets=buckets * (count if own_bias else 1), bias_heads=n)
        return Tower(stem=stem, width=d, blocks=(layers(count, own, feed_forward, cross=cross, norm=RMS_NORM),), final_norm=RMS_NORM)

    longest = f.integer("n_positions", default=512)
    encoder = tower(depth, causal=False)
    if runs == f"{base}EncoderModel":
        return Encoder(name=name, source=source, runs=runs, tower=encoder, heads=(), max_positions=longest)
    return EncoderDecoder(
        name=name,
        source=source,
        runs=runs,
        encoder=encoder,
        decoder=tower(f.integer("num_decoder_layers", default=depth), causal=True, shared=True),
        vocab=v if runs.endswith("ForConditionalGeneration") else 0,
        max_positions=longest,
        tied=f.flag("tie_word_embeddings", True),
    )


def _activation(f: Fields, default: str) -> tuple[bool, str]:
    """Whether `feed_forward_proj` has a gate, gated-gelu against relu, and which function: gated-gelu's is gelu_new."""
    value = f.config.get("feed_forward_proj", default)
    words = value.split("-") if isinstance(value, str) else []
    if not 1 <= len(words) <= 2 or (len(words) == 2 and words[0] != "gated"):
        raise f.fail("feed_forward_proj", value, "an activation such as relu, or gated-gelu")
    return words[0] == "gated", "gelu_new" if value == "gated-gelu" else words[-1]


def bart(f: Fields, name: str, source: Source) -> EncoderDecoder:
    """BART: BartForConditionalGeneration, BartModel (without head); norms behind the parts, and behind the embeddings."""
    return _bart_like(f, name, source, "Bart", embedding_norm=LAYER_NORM, offset=2)


def mbart(f: Fields, name: str, source: Source) -> EncoderDecoder:
    """mBART: MBartForConditionalGeneration, MBartModel; as BART, and a norm behind the last layer."""
    return _bart_like(f, name, source, "MBart", embedding_norm=LAYER_NORM, final_norm=LAYER_NORM, prenorm=True, offset=2)


def pegasus(f: Fields, name: str, source: Source) -> EncoderDecoder:
    """PEGASUS: PegasusForConditionalGeneration, PegasusModel; sinusoidal positions, which are held as a table."""
    return _bart_like(f, name, source, "Pegasus", final_norm=LAYER_NORM, prenorm=True)


def marian(f: Fields, name: str, source: Source) -> EncoderDecoder:
    """Marian (OPUS-MT): MarianMTModel, MarianModel; sinusoidal positions, two vocabularies where they are not shared."""
    shares = f.flag("share_encoder_decoder_embeddings", True)
    vocab = f.integer("vocab_size", default=58101)
    target = f.integer("decoder_vocab_size", default=vocab)
    if shares and target != vocab:
        raise f.fail("decoder_vocab_size", target, f"vocab_size, {vocab}, where share_encoder_decoder_embeddings is true")
    return _bart_like(f, name, source, "Marian", head="MTModel", vocab=58101, target_vocab=None if shares else target)


def _bart_like(
    f: Fields,
    name: str,
    source: Source,
    base: str,
    *,
    head: str = "ForConditionalGeneration",
    vocab: int = 50265,
    target_vocab: int | None = None,
    embedding_norm: Norm | None = None,
    final_norm: Norm | None = None,
    prenorm: bool = False,
    offset: int | None = None,
) -> EncoderDecoder:
    """What BART and its kin share.

    Args:
        head: how the class with a head is called.
        prenorm: whether norms stand before the parts of a layer.
        target_vocab: of the decoder, where it has a token table of its own; None where both use one.
        offset: rows of the position table that no token gets; None for sinusoids, which training leaves alone.
    """
    known = (f"{base}{head}", f"{base}Model")
    runs = class_named(f, known, known[0])
    d, v = f.integer("d_model", "hidden_size", default=1024), f.integer("vocab_size", default=vocab)
    longest = f.integer("max_position_embeddings", default=1024)
    tied = f.flag("tie_word_embeddings", True)

    def tower(side: str, tokens: int, *, causal: bool, shared: bool) -> Tower:
        key = f"{side}_attention_heads"
        n = f.integer(key, *(("num_attention_heads",) if side == "encoder" else ()), default=16)
        h = head_width(f, key, n, "d_model", d)
        count = f.integer(f"{side}_layers", *(("num_hidden_layers",) if side == "encoder" else ()), default=12)
        feed_forward = FeedForward(
            width=f.integer(f"{side}_ffn_dim", default=4096), activation=f.text("activation_function", default="gelu"), bias=True
        )
        cross = attention(n, h, cross=True) if causal else None
        stem = TokenStem(
            vocab=tokens, shared=shared, positions=longest + (offset or 0), frozen_positions=offset is None, norm=embedding_norm
        )
        block = layers(count, attention(n, h, causal=causal), feed_forward, cross=cross, prenorm=prenorm)
        return Tower(stem=stem, width=d, blocks=(block,), final_norm=final_norm)

    separate = target_vocab is not None
    target = v if target_vocab is None else target_vocab
    return EncoderDecoder(
        name=name,
        source=source,
        runs=runs,
        encoder=tower("encoder", v, causal=False, shared=False),
        decoder=tower("decoder", target, causal=True, shared=tied and not separate),
        vocab=target if runs == known[0] else 0,
        max_positions=longest,
        tied=tied,
        spare=0 if tied or separate else v * d,
    )
