"""Encoders after BERT: DeBERTa with positions apart from content, ModernBERT with rotary positions and windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block, Norm
from estimators.architectures.builders.encoders import answer, masked_lm
from estimators.architectures.builders.parts import Heads, HeadTable, attention, classifier, head_width, heads_named, labels, pooler
from estimators.architectures.disentangled import DisentangledAttention, DistanceStem
from estimators.architectures.encoder import Encoder, Projection, Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import TokenStem
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

MAX_LAYERS = 10_000


def deberta_v2(f: Fields, name: str, source: Source) -> Encoder:
    """DeBERTa v2 and v3: DebertaV2Model, DebertaV2ForMaskedLM, DebertaV2ForSequenceClassification and others."""
    d, v = f.integer("hidden_size", default=1536), f.integer("vocab_size", default=128100)
    edge, n = f.integer("embedding_size", default=d), f.integer("num_attention_heads", default=24)
    longest = f.integer("max_position_embeddings", default=512)
    heads: HeadTable = {
        "DebertaV2Model": lambda: (),
        "DebertaV2ForMaskedLM": lambda: _deberta_masked_lm(f, d, edge, v),
        "DebertaV2ForSequenceClassification": lambda: (pooler(d), classifier(d, labels(f))),
        "DebertaV2ForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
        "DebertaV2ForQuestionAnswering": lambda: (answer(f, d),),
    }
    runs, chosen = heads_named(f, heads, "DebertaV2Model")
    if f.integer("pooler_hidden_size", default=d) != d:
        raise f.fail("pooler_hidden_size", f.config["pooler_hidden_size"], f"hidden_size, {d}, which the pooler reads")
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    if f.integer("attention_head_size", default=h) != h:
        raise f.fail("attention_head_size", f.config["attention_head_size"], f"hidden_size / num_attention_heads, {h}")
    relative = f.flag("relative_attention", False)
    distances = 2 * _span(f, longest) if relative else 0
    kinds = _position_kinds(f) if relative else frozenset()
    content = attention(n, h)
    attend = DisentangledAttention(
        attention=content,
        distances=distances,
        content_to_position="c2p" in kinds,
        position_to_content="p2c" in kinds,
        shared=f.flag("share_att_key", False),
    )
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=6144), activation=f.text("hidden_act", default="gelu"), bias=True
    )
    parts = (("attention", attend if relative else content), ("mlp", feed_forward))
    block = Block(count=f.integer("num_hidden_layers", default=24), parts=parts, norms=2, norm=LAYER_NORM, prenorm=False, norm_of_sum=True)
    kernel = f.integer("conv_kernel_size", default=0, minimum=0)
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
            norm=LAYER_NORM,
            norm_after_projection=True,
        ),
        distances=distances,
        distance_norm="layer_norm" in str(f.config.get("norm_rel_ebd", "none")).lower().split("|"),
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


def _span(f: Fields, longest: int) -> int:
    """Distances on either side: buckets, or positions where there are none; a -1 means unset."""
    buckets = f.integer("position_buckets", default=-1, minimum=-1)
    if buckets > 0:
        return buckets
    positions = f.integer("max_relative_positions", default=-1, minimum=-1)
    return positions if positions > 0 else longest


def _position_kinds(f: Fields) -> frozenset[str]:
    """The terms in `pos_att_type`: a list, or words with bars between."""
    value = f.config.get("pos_att_type")
    words = [word.strip() for word in value.lower().split("|")] if isinstance(value, str) else value or []
    if not isinstance(words, list) or not all(word in ("c2p", "p2c") for word in words):
        raise f.fail("pos_att_type", value, "a list of c2p and p2c, or c2p|p2c")
    return frozenset(words)


def modernbert(f: Fields, name: str, source: Source) -> Encoder:
    """ModernBERT: ModernBertModel, ModernBertForMaskedLM and others; every third layer sees all, the others a window."""
    d, v = f.integer("hidden_size", default=768), f.integer("vocab_size", default=50368)
    n = f.integer("num_attention_heads", default=12)
    norm = Norm(bias=f.flag("norm_bias", False), written="layer")
    bias = f.flag("attention_bias", False)
    width = head_width(f, "num_attention_heads", n, "hidden_size", d)
    side = f.integer("local_attention", default=128) // 2
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=1152),
        activation=f.text("hidden_activation", default="gelu"),
        gated=True,
        fused=True,
        bias=f.flag("mlp_bias", False),
    )

    def block(count: int, window: int | None, norms: int) -> Block:
        attend = Attention(
            heads=n,
            kv_heads=n,
            head_width=width,
            query_bias=bias,
            key_bias=bias,
            value_bias=bias,
            out_bias=bias,
            fused=True,
            causal=False,
            window=window,
        )
        return Block(count=count, parts=(("attention", attend), ("mlp", feed_forward)), norms=norms, norm=norm)

    windowed = _windowed(f)
    windows = [2 * side + 1 if is_windowed else None for is_windowed in windowed]
    rest = windows[1:]
    blocks = [block(1, windows[0], 1), *(block(rest.count(window), window, 2) for window in dict.fromkeys(rest))]
    longest = f.integer("max_position_embeddings", default=8192)
    runs, heads = _modernbert_heads(f, d, v, norm)
    tower = Tower(stem=TokenStem(vocab=v, norm=norm), width=d, blocks=tuple(blocks), final_norm=norm)
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=heads, max_positions=longest)


def _modernbert_heads(f: Fields, d: int, vocab: int, norm: Norm) -> tuple[str, Heads]:
    bias, tied = f.flag("classifier_bias", False), f.flag("tie_word_embeddings", True)

    def transform(per: Literal["token", "sample"]) -> Projection:
        return Projection(name="head.transform", d_in=d, d_out=d, bias=bias, per=per, component="transform", norm=norm)

    lm_head = Projection(name="head", d_in=d, d_out=vocab, cut="vocabulary", bias=f.flag("decoder_bias", True), owned=not tied)
    known: HeadTable = {
        "ModernBertModel": lambda: (),
        "ModernBertForMaskedLM": lambda: (transform("token"), lm_head),
        "ModernBertForSequenceClassification": lambda: (transform("sample"), classifier(d, labels(f))),
        "ModernBertForTokenClassification": lambda: (transform("token"), classifier(d, labels(f), per_token=True)),
        "ModernBertForQuestionAnswering": lambda: (transform("token"), answer(f, d)),
    }
    return heads_named(f, known, "ModernBertModel")


def _windowed(f: Fields) -> list[bool]:
    """Of every layer, whether it sees a window only: `layer_types`, or all but every n-th."""
    count = f.integer("num_hidden_layers", default=22)
    if count > MAX_LAYERS:
        raise f.fail("num_hidden_layers", count, f"at most {MAX_LAYERS:,} layers where they differ")
    types = f.config.get("layer_types")
    if types is None:
        every = f.integer("global_attn_every_n_layers", default=3)
        return [bool(i % every) for i in range(count)]
    known = ("full_attention", "sliding_attention")
    if not isinstance(types, list) or len(types) != count or not all(kind in known for kind in types):
        raise f.fail("layer_types", types, f"one of {' and '.join(known)} for each of the {count} layers")
    return [kind == "sliding_attention" for kind in types]
