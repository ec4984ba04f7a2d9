"""wav2vec 2.0, HuBERT and WavLM: encoders over the samples of a recording, with a head of letters or of classes.

The class of transformers that `architectures` names decides the head; without it, the plain model that AutoModel builds.
In training transformers leaves out some layers at random (`layerdrop`): counted are all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.builders.parts import HeadTable, attention, classifier, head_width, heads_named, labels
from estimators.architectures.encoder import Projection, Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.part import Part
from estimators.architectures.waves import CROP_SAMPLES, GatedBiasAttention, WaveEncoder, WaveStem
from estimators.errors import NoOpTableError
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def wav2vec2(f: Fields, name: str, source: Source) -> WaveEncoder:
    """wav2vec 2.0, XLS-R: Wav2Vec2Model, Wav2Vec2ForCTC, Wav2Vec2ForSequenceClassification, Wav2Vec2ForAudioFrameClassification.

    Raises:
        NoOpTableError: with adapters behind its layers or in them.
    """
    for key in ("add_adapter", "adapter_attn_dim"):
        if f.config.get(key):
            raise NoOpTableError(f"{name}: {key} is {f.config[key]}; the op table of wav2vec2 has no adapters")
    return _encoder(f, name, source, "Wav2Vec2")


def hubert(f: Fields, name: str, source: Source) -> WaveEncoder:
    """HuBERT: HubertModel, HubertForCTC, HubertForSequenceClassification."""
    return _encoder(f, name, source, "Hubert")


def wavlm(f: Fields, name: str, source: Source) -> WaveEncoder:
    """WavLM: WavLMModel, WavLMForCTC and others; a bias by distance, which gates make each query's own.

    Raises:
        NoOpTableError: with adapters behind its layers.
    """
    if f.config.get("add_adapter"):
        raise NoOpTableError(f"{name}: add_adapter is {f.config['add_adapter']}; the op table of wavlm has no adapters")
    return _encoder(f, name, source, "WavLM", buckets=f.integer("num_buckets", default=320))


def _encoder(f: Fields, name: str, source: Source, base: str, *, buckets: int = 0) -> WaveEncoder:
    """What all of them share.

    Args:
        buckets: rows of the table of biases by distance; 0 for attention without one.
    """
    d, n = f.integer("hidden_size", default=768), f.integer("num_attention_heads", default=12)
    depth, vocab, inner = (
        f.integer(key, default=default) for key, default in (("num_hidden_layers", 12), ("vocab_size", 32), ("classifier_proj_size", 256))
    )
    dense = Projection(name="head.dense", d_in=d, d_out=inner)
    known: HeadTable = {
        f"{base}Model": lambda: (),
        f"{base}ForCTC": lambda: (Projection(name="head", d_in=d, d_out=vocab, cut="vocabulary"),),
        f"{base}ForSequenceClassification": lambda: (dense, classifier(inner, labels(f))),
    }
    if base != "Hubert":
        known[f"{base}ForAudioFrameClassification"] = lambda: (classifier(d, labels(f), per_token=True),)
    runs, heads = heads_named(f, known, f"{base}Model")
    averaged = depth + 1 if runs.endswith("Classification") and f.flag("use_weighted_layer_sum", False) else 0
    early = f.flag("do_stable_layer_norm", False)
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    attend = attention(n, h, scores="handed_out" if buckets else "fused")
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=3072), activation=f.text("hidden_act", default="gelu"), bias=True
    )
    stem = _stem(f, base, d, early=early)
    blocks = [(depth, attend)] if not buckets else _biased(attend, buckets, depth)
    tower = Tower(
        stem=stem,
        width=d,
        blocks=tuple(_block(count, part, feed_forward, early=early) for count, part in blocks),
        final_norm=LAYER_NORM if early else None,
    )
    return WaveEncoder(name=name, source=source, runs=runs, stem=stem, tower=tower, heads=heads, averaged_layers=averaged)


def _biased(attend: Attention, buckets: int, depth: int) -> list[tuple[int, GatedBiasAttention]]:
    """The first layer owns the biases."""
    layers = [(1, GatedBiasAttention(attention=attend, buckets=buckets))]
    return layers + [(depth - 1, GatedBiasAttention(attention=attend, buckets=0))] * (depth > 1)


def _block(count: int, attend: Part, feed_forward: FeedForward, *, early: bool) -> Block:
    parts = (("attention", attend), ("mlp", feed_forward))
    return Block(count=count, parts=parts, norms=2, norm=LAYER_NORM, prenorm=early, norm_of_sum=not early)


def _stem(f: Fields, base: str, width: int, *, early: bool) -> WaveStem:
    """The filters.

    Raises:
        BadConfigError: lists of other lengths, a recording that they leave nothing of, groups that do not divide.
    """
    lists = [
        f.integers(key, minimum_length=1) if f.config.get(key) is not None else f.default(key, usual)
        for key, usual in (("conv_dim", (512,) * 7), ("conv_kernel", KERNELS), ("conv_stride", STRIDES))
    ]
    widths, kernels, strides = lists
    for key, values in (("conv_kernel", kernels), ("conv_stride", strides)):
        if len(values) != len(widths):
            raise f.fail(key, list(values), f"one number for each of the {len(widths)} filters in conv_dim")
    groups = f.integer("num_conv_pos_embedding_groups", default=16)
    if width % groups:
        raise f.fail("num_conv_pos_embedding_groups", groups, f"a divisor of hidden_size, {width}")
    norms = f.choice("feat_extract_norm", "group", ("group", "layer"))
    stem = WaveStem(
        samples=CROP_SAMPLES,
        widths=widths,
        kernels=kernels,
        strides=strides,
        bias=f.flag("conv_bias", False),
        normed=1 if norms == "group" else len(widths),
        projection_norm=base != "Hubert" or f.flag("feat_proj_layer_norm", True),
        position_kernel=f.integer("num_conv_pos_embeddings", default=128),
        position_groups=groups,
        position_batch_norm=base == "Hubert" and f.flag("conv_pos_batch_norm", False),
        norm=None if early else LAYER_NORM,
        activation=f.text("feat_extract_activation", default="gelu"),
        mask=_positive(f, "mask_time_prob", 0.05) or _positive(f, "mask_feature_prob", 0.0),
    )
    if stem.fewest_samples > CROP_SAMPLES:
        raise f.fail("conv_stride", list(strides), f"filters that leave something of {CROP_SAMPLES:,} samples")
    return stem


def _positive(f: Fields, key: str, default: float) -> bool:
    value = f.config[key] if key in f.config else f.default(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise f.fail(key, value, "a share from 0 to 1")
    return value > 0
