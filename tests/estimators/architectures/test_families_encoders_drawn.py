"""Encoders: random configurations against torch on meta, `==`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.encoders_and_images import check

CLASSES = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
BASES = {
    "albert": "Albert",
    "bert": "Bert",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "mpnet": "MPNet",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
MORE_CLASSES = {
    "albert": ("ForPreTraining",),
    "bert": ("ForPreTraining", "ForNextSentencePrediction"),
    "electra": ("ForPreTraining",),
}


@st.composite
def bert_like(draw: st.DrawFn) -> dict[str, Any]:
    model_type = draw(st.sampled_from(sorted(BASES)))
    heads = draw(st.integers(1, 4))
    names = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers", "intermediate_size": "hidden_dim"}
    sizes = {
        "hidden_size": heads * draw(st.integers(1, 12)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 4)),
        "intermediate_size": draw(st.integers(1, 50)),
    }
    if model_type == "distilbert":
        sizes = {names[key]: value for key, value in sizes.items()}
    elif model_type == "mpnet":
        sizes["relative_attention_num_buckets"] = draw(st.integers(4, 40))
    else:
        sizes["type_vocab_size"] = draw(st.integers(1, 3))
    if model_type in ("albert", "electra"):
        sizes["embedding_size"] = draw(st.integers(1, 30) | st.just(sizes["hidden_size"]))
    if model_type == "albert":
        sizes |= {"num_hidden_groups": draw(st.integers(1, sizes["num_hidden_layers"])), "inner_group_num": draw(st.integers(1, 2))}
    chosen = draw(st.none() | st.sampled_from((*CLASSES, *MORE_CLASSES.get(model_type, ()))))
    labels = 2 if chosen == "ForQuestionAnswering" else draw(st.integers(1, 9))
    return {
        "model_type": model_type,
        **sizes,
        **({"architectures": [BASES[model_type] + chosen]} if chosen else {}),
        "vocab_size": draw(st.integers(5, 90)),
        "max_position_embeddings": draw(st.integers(40, 60)),
        "num_labels": labels,
        "tie_word_embeddings": draw(st.booleans()),
    }


@given(bert_like())
@settings(max_examples=30, deadline=None)
def test_random_encoders_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def rotary(draw: st.DrawFn) -> dict[str, Any]:
    model_type, base = draw(st.sampled_from([("eurobert", "EuroBert"), ("nomic_bert", "NomicBert")]))
    shared, copies = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    own: dict[str, Any] = {"type_vocab_size": draw(st.integers(1, 3))}
    if model_type == "eurobert":
        own = {key: draw(st.booleans()) for key in ("attention_bias", "mlp_bias")}
        own |= {"num_key_value_heads": shared, "classifier_pooling": draw(st.sampled_from(["bos", "late", "mean"]))}
    return {
        "model_type": model_type,
        "architectures": [base + draw(st.sampled_from(CLASSES[:-1]))],
        "hidden_size": 2 * shared * copies * draw(st.integers(1, 6)),
        "num_attention_heads": shared * copies,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 50)),
        "vocab_size": draw(st.integers(5, 90)),
        "pad_token_id": 0,
        "num_labels": draw(st.integers(1, 9)),
        "tie_word_embeddings": draw(st.booleans()),
        **own,
    }


@given(rotary())
@settings(max_examples=14, deadline=None)
def test_random_rotary_encoders_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def deberta(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.integers(1, 4))
    width, first = heads * draw(st.integers(1, 10)), draw(st.booleans())
    chosen, legacy = draw(st.sampled_from(CLASSES)), draw(st.booleans()) or not first
    return {
        "model_type": "deberta" if first else "deberta-v2",
        "architectures": [f"Deberta{'' if first else 'V2'}{chosen}"],
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 50)),
        "vocab_size": draw(st.integers(5, 90)),
        "max_position_embeddings": draw(st.integers(30, 60)),
        "type_vocab_size": draw(st.integers(0, 2)),
        "relative_attention": draw(st.booleans()),
        "pos_att_type": draw(st.sampled_from([None, "c2p", "p2c|c2p", ["p2c"], ["c2p", "p2c"]])),
        "position_buckets": draw(st.sampled_from([-1, 8, 256])),
        "max_relative_positions": draw(st.sampled_from([-1, 20])),
        "share_att_key": draw(st.booleans()),
        "norm_rel_ebd": draw(st.sampled_from(["none", "layer_norm"])),
        "position_biased_input": draw(st.booleans()),
        "conv_kernel_size": draw(st.sampled_from([0, 3, 5])),
        "conv_groups": draw(st.sampled_from([1, width])),
        "legacy": legacy,
        "embedding_size": draw(st.sampled_from([width, 7])) if legacy else width,
        "tie_word_embeddings": draw(st.booleans()),
    }


@given(deberta())
@settings(max_examples=20, deadline=None)
def test_random_debertas_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def modernbert(draw: st.DrawFn) -> dict[str, Any]:
    heads, layers = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    kinds_of_layers = st.lists(st.sampled_from(["full_attention", "sliding_attention"]), min_size=layers, max_size=layers)
    return {
        "model_type": "modernbert",
        "architectures": [f"ModernBert{draw(st.sampled_from(CLASSES))}"],
        "hidden_size": 2 * heads * draw(st.integers(1, 6)),
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "intermediate_size": draw(st.integers(1, 40)),
        "vocab_size": draw(st.integers(5, 90)),
        "pad_token_id": 0,
        "local_attention": draw(st.integers(2, 20)),
        **draw(st.just({}) | st.builds(lambda kinds: {"layer_types": kinds}, kinds_of_layers)),
        "global_attn_every_n_layers": draw(st.integers(1, 4)),
        **{key: draw(st.booleans()) for key in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias", "decoder_bias")},
        "tie_word_embeddings": draw(st.booleans()),
    }


@given(modernbert())
@settings(max_examples=20, deadline=None)
def test_random_modernberts_count_like_torch(config: dict[str, Any]) -> None:
    check(config)
