"""Encoders with rotary positions and a gate in their feed-forward: Nomic BERT, EuroBERT and GTE.

The class of transformers that `architectures` names decides the head; without it, the plain model that AutoModel builds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, RMS_NORM, Block
from estimators.architectures.builders.encoders import masked_lm
from estimators.architectures.builders.experts import experts_of
from estimators.architectures.builders.parts import HeadTable, class_named, classifier, head_width, heads_named, labels, pooler
from estimators.architectures.builders.sizes import MAX_VARIED_LAYERS
from estimators.architectures.encoder import Encoder, Projection, Tower
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.own_code import by_hand, only, without_size
from estimators.architectures.stems import TokenStem
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


NOMIC_BERTS_OWN: dict[str, object] = {
    "activation_function": "swiglu",
    "causal": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "use_rms_norm": False,
}
"""Fields of the configurations that its authors publish -> what transformers' class always is."""


def nomic_bert(f: Fields, name: str, source: Source) -> Encoder:
    """Nomic BERT: NomicBertModel (without pooler), NomicBertForMaskedLM and others; norms behind the sums, no biases in its layers."""
    if f.config.get("num_experts") is not None:
        return nomic_with_experts(f, name, source)
    for key, value in NOMIC_BERTS_OWN.items():
        if f.config.get(key) not in (None, value):
            raise f.fail(key, f.config[key], f"{str(value).lower()}: transformers' Nomic BERT has no other")
    d, v = f.integer("hidden_size", "n_embd", default=768), f.integer("vocab_size", default=30528)
    known: HeadTable = {
        "NomicBertModel": lambda: (),
        "NomicBertForMaskedLM": lambda: masked_lm(f, d, d, v, spare_bias=True),
        "NomicBertForSequenceClassification": lambda: (pooler(d), classifier(d, labels(f))),
        "NomicBertForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
    }
    runs, heads = heads_named(f, known, "NomicBertModel")
    n = f.integer("num_attention_heads", "n_head", default=12)
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", "n_inner", default=3072), activation=f.text("hidden_act", default="silu"), gated=True
    )
    block = Block(
        count=f.integer("num_hidden_layers", "n_layer", default=12),
        parts=(("attention", _attention(f, n, n, d, bias=False)), ("mlp", feed_forward)),
        norms=2,
        norm=LAYER_NORM,
        prenorm=False,
        norm_of_sum=True,
    )
    stem = TokenStem(vocab=v, token_types=f.integer("type_vocab_size", default=2), norm=LAYER_NORM)
    longest = f.integer("max_position_embeddings", "n_positions", default=2048)
    tower = Tower(stem=stem, width=d, blocks=(block,))
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=heads, max_positions=longest)


@by_hand
def nomic_with_experts(f: Fields, name: str, source: Source) -> Encoder:
    """Nomic Embed 2, whose code comes with its repository: biases everywhere, no gates, experts on every second layer.

    Experts have no biases of their own, and one together. From memory of that code, unchecked.
    """
    only(f, {"activation_function": "gelu", "causal": False, "prenorm": False, "parallel_block": False, "use_rms_norm": False})
    only(f, {"qkv_proj_bias": True, "mlp_fc1_bias": True, "mlp_fc2_bias": True, "num_shared_experts": 0, "expert_choice_router": False})
    without_size(f, "ffn_div", "moe_impl", "moe_normalize_expert_weights", "pad_vocab_size_multiple", "use_xentropy", "moe_resid_pdrop")
    without_size(
        f, "fused_bias_fc", "dense_seq_output", "max_trained_positions", "rotary_emb_interleaved", "scale_attn_by_inverse_layer_idx"
    )
    class_named(f, ("NomicBertModel",), "NomicBertModel")
    d, n, width = f.integer("n_embd"), f.integer("n_head"), f.integer("n_inner")
    num, chosen = experts_of(f, num=None, per_token=None, num_keys=("num_experts",), per_token_keys=("moe_top_k",))
    every = f.integer("moe_every_n_layers")
    dense = FeedForward(width=width, activation="gelu", bias=True)
    experts = Experts(num=num, per_token=chosen, width=width, activation="gelu", gated=False, router_layer=True, joint_bias=True)

    def layer(i: int) -> Block:
        part = experts if i % every == 1 else dense
        parts = (("attention", replace(_attention(f, n, n, d, bias=True), fused=True)), ("mlp", part))
        return Block(count=1, parts=parts, norms=2, norm=LAYER_NORM, prenorm=False, norm_of_sum=True)

    stem = TokenStem(vocab=f.integer("vocab_size"), token_types=f.integer("type_vocab_size", default=2, minimum=0), norm=LAYER_NORM)
    if (count := f.integer("n_layer")) > MAX_VARIED_LAYERS:
        raise f.fail("n_layer", count, f"at most {MAX_VARIED_LAYERS:,} layers where they differ")
    tower = Tower(stem=stem, width=d, blocks=tuple(layer(i) for i in range(count)))
    return Encoder(
        name=name, source=source, runs="NomicBertModel", tower=tower, heads=(), max_positions=f.integer("n_positions", default=2048)
    )


def eurobert(f: Fields, name: str, source: Source) -> Encoder:
    """EuroBERT: EuroBertModel, EuroBertForMaskedLM and others; Llama's layers, in which every token sees every other."""
    d, v, bias = f.integer("hidden_size", default=768), f.integer("vocab_size", default=128256), f.flag("mlp_bias", False)
    tied = f.flag("tie_word_embeddings", False)
    late = f.choice("classifier_pooling", "late", ("bos", "late", "mean")) == "late"
    dense = Projection(name="head.dense", d_in=d, d_out=d, per="token" if late else "sample", component="transform")
    known: HeadTable = {
        "EuroBertModel": lambda: (),
        "EuroBertForMaskedLM": lambda: (Projection(name="head", d_in=d, d_out=v, bias=bias, cut="vocabulary", owned=not tied),),
        "EuroBertForSequenceClassification": lambda: (dense, classifier(d, labels(f), per_token=late)),
        "EuroBertForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
    }
    runs, heads = heads_named(f, known, "EuroBertModel")
    n = f.integer("num_attention_heads", default=12)
    shared = f.integer("num_key_value_heads", default=n)
    f.divides("num_key_value_heads", shared, "num_attention_heads", n)
    feed_forward = FeedForward(
        width=f.integer("intermediate_size", default=3072), activation=f.text("hidden_act", default="silu"), gated=True, bias=bias
    )
    attend = _attention(f, n, shared, d, bias=f.flag("attention_bias", False))
    block = Block(
        count=f.integer("num_hidden_layers", default=12), parts=(("attention", attend), ("mlp", feed_forward)), norms=2, norm=RMS_NORM
    )
    longest = f.integer("max_position_embeddings", default=8192)
    tower = Tower(stem=TokenStem(vocab=v), width=d, blocks=(block,), final_norm=RMS_NORM)
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=heads, max_positions=longest)


@by_hand
def new(f: Fields, name: str, source: Source) -> Encoder:
    """GTE: NewModel (without pooler), NewForMaskedLM and others; norms behind the sums.

    In its feed-forward only the last matrix has a bias.
    """
    only(f, {"layer_norm_type": "layer_norm", "position_embedding_type": "rope", "pack_qkv": True})
    without_size(f, "logn_attention_clip1", "logn_attention_scale", "unpad_inputs", "use_memory_efficient_attention", "pack_qkv")
    d, v, n = f.integer("hidden_size"), f.integer("vocab_size"), f.integer("num_attention_heads")
    known: HeadTable = {
        "NewModel": lambda: (),
        "NewForMaskedLM": lambda: masked_lm(f, d, d, v, spare_bias=False),
        "NewForSequenceClassification": lambda: (pooler(d), classifier(d, labels(f))),
        "NewForTokenClassification": lambda: (classifier(d, labels(f), per_token=True),),
    }
    runs, heads = heads_named(f, known, "NewModel")
    feed_forward = FeedForward(
        width=f.integer("intermediate_size"), activation=f.text("hidden_act", default="gelu"), gated=True, fused=True, last_bias=True
    )
    block = Block(
        count=f.integer("num_hidden_layers"),
        parts=(("attention", replace(_attention(f, n, n, d, bias=True), fused=True)), ("mlp", feed_forward)),
        norms=2,
        norm=LAYER_NORM,
        prenorm=False,
        norm_of_sum=True,
    )
    stem = TokenStem(vocab=v, token_types=f.integer("type_vocab_size", default=1, minimum=0), norm=LAYER_NORM)
    longest = f.integer("max_position_embeddings", default=8192)
    tower = Tower(stem=stem, width=d, blocks=(block,))
    return Encoder(name=name, source=source, runs=runs, tower=tower, heads=heads, max_positions=longest)


def _attention(f: Fields, heads: int, kv_heads: int, width: int, *, bias: bool) -> Attention:
    h = f.optional_integer("head_dim") or head_width(f, "num_attention_heads", heads, "hidden_size", width)
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_width=h,
        query_bias=bias,
        key_bias=bias,
        value_bias=bias,
        out_bias=bias,
        causal=False,
    )
