"""DeBERTa, of all versions: positions apart from content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM, Block, Norm
from estimators.architectures.builders.encoders import answer, masked_lm
from estimators.architectures.builders.parts import Heads, HeadTable, attention, classifier, head_width, heads_named, labels, pooler
from estimators.architectures.disentangled import DisentangledAttention, DistanceStem
from estimators.architectures.encoder import Encoder, Projection, Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import TokenStem
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


WRITTEN_OUT = Norm(bias=True, written="layer_written_out")
"""Of the first version: fp32, in Python."""


def deberta(f: Fields, name: str, source: Source) -> Encoder:
    """DeBERTa v1: DebertaModel, DebertaForMaskedLM, DebertaForSequenceClassification and others.

    One matrix makes queries, keys and values; of the distances only as many are looked at as the sequence has.

    Raises:
        NoOpTableError: with matrices that mix heads.
    """
    if f.flag("talking_head", False):
        raise NoOpTableError(f"{name}: talking_head is true; the op table of deberta mixes no heads")
    return _deberta(f, name, source, "Deberta", width=768, vocab=50265, heads=12, layers=12, ffn_width=3072)


def deberta_v2(f: Fields, name: str, source: Source) -> Encoder:
    """DeBERTa v2 and v3: DebertaV2Model, DebertaV2ForMaskedLM, DebertaV2ForSequenceClassification and others."""
    return _deberta(f, name, source, "DebertaV2", width=1536, vocab=128100, heads=24, layers=24, ffn_width=6144)


def _deberta(
    f: Fields, name: str, source: Source, base: str, *, width: int, vocab: int, heads: int, layers: int, ffn_width: int
) -> Encoder:
    """What all versions share; numbers are those of a configuration that does not say."""
    d, v = f.integer("hidden_size", default=width), f.integer("vocab_size", default=vocab)
    edge, n = f.integer("embedding_size", default=d), f.integer("num_attention_heads", default=heads)
    longest = f.integer("max_position_embeddings", default=512)
    known: HeadTable = {
        f"{base}Model": lambda: (),
        f"{base}ForMaskedLM": lambda: _deberta_masked_lm(f, d, edge, v),
        f"{base}ForSequenceClassification": lambda: (pooler(d), classifier(d, labels(f))),
        f"{base}ForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
        f"{base}ForQuestionAnswering": lambda: (answer(f, d),),
    }
    runs, chosen = heads_named(f, known, f"{base}Model")
    if f.integer("pooler_hidden_size", default=d) != d:
        raise f.fail("pooler_hidden_size", f.config["pooler_hidden_size"], f"hidden_size, {d}, which the pooler reads")
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    first = base == "Deberta"
    if not first and f.integer("attention_head_size", default=h) != h:
        raise f.fail("attention_head_size", f.config["attention_head_size"], f"hidden_size / num_attention_heads, {h}")
    relative = f.flag("relative_attention", False)
    distances = 2 * _span(f, longest, buckets=not first) if relative else 0
    kinds = _position_kinds(f) if relative else frozenset()
    content = attention(n, h)
    if first:  # biases of queries and values lie beside the one matrix
        content = replace(content, fused=True, query_bias=False, key_bias=False, value_bias=False)
    attend = DisentangledAttention(
        attention=content,
        distances=distances,
        content_to_position="c2p" in kinds,
        position_to_content="p2c" in kinds,
        shared=not first and f.flag("share_att_key", False),
        sliced=first,
        biases=2 * d if first else 0,
    )
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=ffn_width), activation=f.text("hidden_act", default="gelu"), bias=True
    )
    parts = (("attention", attend if relative or first else content), ("mlp", feed_forward))
    look, depth = WRITTEN_OUT if first else LAYER_NORM, f.integer("num_hidden_layers", default=layers)
    block = Block(count=depth, parts=parts, norms=2, norm=look, prenorm=False, norm_of_sum=True)
    kernel = 0 if first else f.integer("conv_kernel_size", default=0, minimum=0)
    if kernel and not kernel % 2:
        raise f.fail("conv_kernel_size", kernel, "an odd number, which keeps the sequence's length")
    groups = f.integer("conv_groups", default=1)
    if d % groups:
        raise f.fail("conv_groups", groups, f"a divisor of hidden_size, {d}")
    stem = DistanceStem(
        tokens=TokenStem(
            vocab=v,
            positions=longest if f.flag("position_biased_input", True) else 0,
            token_types=f.integer("type_vocab_size", default=0, minimum=0),
            embedding_width=edge,
            projection_bias=False,
            norm=WRITTEN_OUT if first else LAYER_NORM,
            norm_after_projection=True,
        ),
        distances=distances,
        distance_norm=not first and "layer_norm" in str(f.config.get("norm_rel_ebd", "none")).lower().split("|"),
        kernel=kernel,
        groups=groups,
    )
    tower = Tower(stem=stem, width=d, blocks=(block,))
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=chosen, max_positions=longest)


def _deberta_masked_lm(f: Fields, d: int, edge: int, vocab: int) -> Heads:
    """The head as published before transformers 4.31 (`legacy`), or as DeBERTa's authors have it."""
    if f.flag("legacy", True):
        return masked_lm(f, d, edge, vocab, spare_bias=True)
    if edge != d:
        raise f.fail("embedding_size", edge, f"hidden_size, {d}, where legacy is false")
    transform = Projection(name="head.transform", d_in=d, d_out=d, component="transform", norm=LAYER_NORM)
    return transform, Projection(name="head", d_in=d, d_out=vocab, cut="vocabulary", owned=False)


def _span(f: Fields, longest: int, *, buckets: bool) -> int:
    """Distances on either side: buckets, or positions where there are none; a -1 means unset."""
    rows = f.integer("position_buckets", default=-1, minimum=-1) if buckets else -1
    if rows > 0:
        return rows
    positions = f.integer("max_relative_positions", default=-1, minimum=-1)
    return positions if positions > 0 else longest


def _position_kinds(f: Fields) -> frozenset[str]:
    """The terms in `pos_att_type`: a list, or words with bars between."""
    value = f.config.get("pos_att_type")
    words = [word.strip() for word in value.lower().split("|")] if isinstance(value, str) else value or []
    if not isinstance(words, list) or not all(word in ("c2p", "p2c") for word in words):
        raise f.fail("pos_att_type", value, "a list of c2p and p2c, or c2p|p2c")
    return frozenset(words)
