"""BERT and its kin: layers that see both sides, layer norms and biases, one of several heads.

The class of transformers that `architectures` names decides the head; without it, the plain model that AutoModel builds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.parts import Heads, HeadTable, attention, classifier, head_width, heads_named, labels, layers, pooler
from estimators.architectures.encoder import Encoder, Layers, Projection, SharedBlock, Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.stems import TokenStem
from estimators.errors import BadConfigError
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def masked_lm(f: Fields, width: int, edge: int, vocab: int, *, spare_bias: bool) -> Heads:
    """A linear layer and a norm, then the token table again as head, with a bias.

    Args:
        spare_bias: whether the class holds the bias twice where the head is not tied.
    """
    tied = f.flag("tie_word_embeddings", True)
    transform = Projection(name="head.transform", d_in=width, d_out=edge, component="transform", norm=LAYER_NORM)
    return transform, Projection(
        name="head", d_in=edge, d_out=vocab, cut="vocabulary", owned=not tied, spare=vocab if spare_bias and not tied else 0
    )


def answer(f: Fields, width: int) -> Projection:
    """Where an answer starts and ends: two logits per token. Raises BadConfigError for another number of labels."""
    if labels(f) != 2:
        raise f.fail("num_labels", labels(f), "2: where an answer starts, and where it ends")
    return classifier(width, 2, per_token=True)


def _dense_classifier(f: Fields, width: int) -> Heads:
    """A linear layer on the first token, and a classifier."""
    dense = Projection(name="head.dense", d_in=width, d_out=width, per="sample", component="transform")
    return dense, classifier(width, labels(f))


def _refuse_other_positions(f: Fields) -> None:
    kind = f.config.get("position_embedding_type")
    if kind not in (None, "absolute"):
        hint = "transformers has no other here, and code of a checkpoint's own is never executed"
        raise f.fail("position_embedding_type", kind, f"absolute: {hint}")


def _refuse_decoder(f: Fields) -> None:
    if f.flag("is_decoder", False):
        raise BadConfigError(f"{f.name}: is_decoder is true; expected an encoder, whose tokens see both sides: leave is_decoder out")


def bert(f: Fields, name: str, source: Source) -> Encoder:
    """BERT: BertModel (with pooler), BertForMaskedLM, BertForPreTraining, BertForSequenceClassification and others."""
    return _bert_like(f, name, source, "Bert", vocab=30522, positions=512, types=2, pooled=True)


def roberta(f: Fields, name: str, source: Source) -> Encoder:
    """RoBERTa: RobertaModel (with pooler), RobertaForMaskedLM and others; two rows of the position table are padding."""
    return _bert_like(f, name, source, "Roberta", vocab=50265, positions=512, types=2, pooled=False, offset=2)


def xlm_roberta(f: Fields, name: str, source: Source) -> Encoder:
    """XLM-RoBERTa: XLMRobertaModel, XLMRobertaForMaskedLM and others."""
    return _bert_like(f, name, source, "XLMRoberta", vocab=30522, positions=512, types=2, pooled=False, offset=2)


def mpnet(f: Fields, name: str, source: Source) -> Encoder:
    """MPNet: MPNetModel (with pooler), MPNetForMaskedLM and others; a bias by distance that all layers add, no segments."""
    buckets = f.integer("relative_attention_num_buckets", default=32)
    return _bert_like(f, name, source, "MPNet", vocab=30527, positions=512, types=0, pooled=False, offset=2, buckets=buckets)


def _bert_like(
    f: Fields,
    name: str,
    source: Source,
    base: str,
    *,
    vocab: int,
    positions: int,
    types: int,
    pooled: bool,
    offset: int = 0,
    buckets: int = 0,
) -> Encoder:
    """What BERT and RoBERTa share.

    Args:
        types: segments where the configuration does not say; 0 where there are none.
        buckets: rows of a table of biases by distance; 0 for none.
        pooled: whether a classifier of sequences stands on the pooler, or on a linear layer of its own.
        offset: rows of the position table that no token gets.
    """
    _refuse_decoder(f)
    _refuse_other_positions(f)
    d, v = f.integer("hidden_size", default=768), f.integer("vocab_size", default=vocab)
    rows = f.integer("max_position_embeddings", default=positions, minimum=offset + 1)
    n = f.integer("num_attention_heads", default=12)
    heads: HeadTable = {
        f"{base}Model": lambda: (pooler(d),),
        f"{base}ForMaskedLM": lambda: masked_lm(f, d, d, v, spare_bias=True),
        f"{base}ForSequenceClassification": lambda: (pooler(d), classifier(d, labels(f))) if pooled else _dense_classifier(f, d),
        f"{base}ForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
        f"{base}ForQuestionAnswering": lambda: (answer(f, d),),
    }
    if pooled:
        pair = Projection(name="head.next_sentence", d_in=d, d_out=2, per="sample")
        heads |= {
            f"{base}ForPreTraining": lambda: (pooler(d), *masked_lm(f, d, d, v, spare_bias=True), pair),
            f"{base}ForNextSentencePrediction": lambda: (pooler(d), pair),
        }
    runs, chosen = heads_named(f, heads, f"{base}Model")
    h = head_width(f, "num_attention_heads", n, "hidden_size", d)
    block = layers(
        f.integer("num_hidden_layers", default=12),
        attention(n, h, scores="handed_out" if buckets else "fused"),
        FeedForward(width=f.integer("intermediate_size", default=3072), activation=f.text("hidden_act", default="gelu"), bias=True),
        prenorm=False,
    )
    stem = TokenStem(
        vocab=v,
        positions=rows,
        token_types=f.integer("type_vocab_size", default=types) if types else 0,
        norm=LAYER_NORM,
        bias_buckets=buckets,
        bias_heads=n if buckets else 0,
    )
    tower = Tower(stem=stem, width=d, blocks=(block,))
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=chosen, max_positions=rows - offset)


def distilbert(f: Fields, name: str, source: Source) -> Encoder:
    """DistilBERT: DistilBertModel (without pooler), DistilBertForMaskedLM and others; no segments."""
    d, v = f.integer("dim", "hidden_size", default=768), f.integer("vocab_size", default=30522)
    n, rows = f.integer("n_heads", "num_attention_heads", default=12), f.integer("max_position_embeddings", default=512)
    heads: HeadTable = {
        "DistilBertModel": lambda: (),
        "DistilBertForMaskedLM": lambda: masked_lm(f, d, d, v, spare_bias=False),
        "DistilBertForSequenceClassification": lambda: _dense_classifier(f, d),
        "DistilBertForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
        "DistilBertForQuestionAnswering": lambda: (answer(f, d),),
    }
    runs, chosen = heads_named(f, heads, "DistilBertModel")
    block = layers(
        f.integer("n_layers", "num_hidden_layers", default=6),
        attention(n, head_width(f, "n_heads", n, "dim", d)),
        FeedForward(width=f.integer("hidden_dim", default=4 * 768), activation=f.text("activation", default="gelu"), bias=True),
        prenorm=False,
    )
    tower = Tower(stem=TokenStem(vocab=v, positions=rows, norm=LAYER_NORM), width=d, blocks=(block,))
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=chosen, max_positions=rows)


def electra(f: Fields, name: str, source: Source) -> Encoder:
    """ELECTRA: ElectraModel, ElectraForPreTraining (the discriminator), ElectraForMaskedLM (the generator) and others."""
    _refuse_decoder(f)
    d, v = f.integer("hidden_size", default=256), f.integer("vocab_size", default=30522)
    edge = f.integer("embedding_size", default=128)
    n, rows = f.integer("num_attention_heads", default=4), f.integer("max_position_embeddings", default=512)
    dense = Projection(name="head.dense", d_in=d, d_out=d, component="transform")
    heads: HeadTable = {
        "ElectraModel": lambda: (),
        "ElectraForPreTraining": lambda: (dense, classifier(d, 1, per_token=True)),
        "ElectraForMaskedLM": lambda: masked_lm(f, d, edge, v, spare_bias=False),
        "ElectraForSequenceClassification": lambda: _dense_classifier(f, d),
        "ElectraForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
        "ElectraForQuestionAnswering": lambda: (answer(f, d),),
    }
    runs, chosen = heads_named(f, heads, "ElectraModel")
    stem = TokenStem(vocab=v, positions=rows, token_types=f.integer("type_vocab_size", default=2), embedding_width=edge, norm=LAYER_NORM)
    block = layers(
        f.integer("num_hidden_layers", default=12),
        attention(n, head_width(f, "num_attention_heads", n, "hidden_size", d)),
        FeedForward(width=f.integer("intermediate_size", default=1024), activation=f.text("hidden_act", default="gelu"), bias=True),
        prenorm=False,
    )
    tower = Tower(stem=stem, width=d, blocks=(block,))
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=chosen, max_positions=rows)


def albert(f: Fields, name: str, source: Source) -> Encoder:
    """ALBERT: AlbertModel (with pooler), AlbertForMaskedLM, AlbertForPreTraining and others; layers share weights."""
    d, v = f.integer("hidden_size", default=4096), f.integer("vocab_size", default=30000)
    edge = f.integer("embedding_size", default=128)
    n, rows = f.integer("num_attention_heads", default=64), f.integer("max_position_embeddings", default=512)
    heads: HeadTable = {
        "AlbertModel": lambda: (pooler(d),),
        "AlbertForMaskedLM": lambda: masked_lm(f, d, edge, v, spare_bias=True),
        "AlbertForPreTraining": lambda: (
            pooler(d),
            *masked_lm(f, d, edge, v, spare_bias=True),
            Projection(name="head.sentence_order", d_in=d, d_out=labels(f), per="sample"),
        ),
        "AlbertForSequenceClassification": lambda: (pooler(d), classifier(d, labels(f))),
        "AlbertForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
        "AlbertForQuestionAnswering": lambda: (answer(f, d),),
    }
    runs, chosen = heads_named(f, heads, "AlbertModel")
    depth, groups, inner = (
        f.integer(key, default=default) for key, default in (("num_hidden_layers", 12), ("num_hidden_groups", 1), ("inner_group_num", 1))
    )
    if groups > depth:
        raise f.fail("num_hidden_groups", groups, f"at most num_hidden_layers, {depth}")
    attend = attention(n, head_width(f, "num_attention_heads", n, "hidden_size", d))
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=16384), activation=f.text("hidden_act", default="gelu_new"), bias=True
    )
    blocks: tuple[Layers, ...] = (layers(groups * inner, attend, feed_forward, prenorm=False),)
    if depth > groups:
        blocks += (SharedBlock(block=layers((depth - groups) * inner, attend, feed_forward, prenorm=False)),)
    stem = TokenStem(
        vocab=v,
        positions=rows,
        token_types=f.integer("type_vocab_size", default=2),
        embedding_width=edge,
        always_projects=True,
        norm=LAYER_NORM,
    )
    tower = Tower(stem=stem, width=d, blocks=blocks)
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=chosen, max_positions=rows)
