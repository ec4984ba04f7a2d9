"""ModernBERT: rotary positions, and windows in most layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from estimators.architectures.attention import Attention
from estimators.architectures.block import Block, Norm
from estimators.architectures.builders.encoders import answer
from estimators.architectures.builders.parts import Heads, HeadTable, classifier, head_width, heads_named, labels
from estimators.architectures.encoder import Encoder, Projection, Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import TokenStem
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

MAX_LAYERS = 10_000


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
