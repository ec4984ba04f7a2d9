"""Encoders and encoder-decoders: the op table against torch on meta, `==`, for published and for random configurations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.backend import count, kinds
from estimators.architectures.encoder import Encoder, SharedBlock
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.conventions import unskippable_flop
from estimators.errors import BadConfigError, BadValueError
from estimators.estimate import count_params, estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry, model_ids
from estimators.rules import TRAINER_RULE, rules
from estimators.spec import Case, Estimate, Model, Op, Workload

ENCODERS = ("albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
ENCODER_DECODERS = ("bart", "marian", "mbart", "mt5", "pegasus", "t5", "whisper")
SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in (*ENCODERS, *ENCODER_DECODERS)]
SMALLEST = (
    *("albert-base-v2", "bert-base-uncased", "deberta-v3-base", "distilbert-base-uncased", "electra-small", "modernbert-base"),
    *("distilroberta-base", "xlm-roberta-base", "bart-base", "opus-mt-en-de", "mt5-small", "t5-small", "flan-t5-small", "whisper-tiny"),
)
"""One shipped model per family and its head, each counted whole; the others are counted with two layers unless slow tests run."""

READING = (Workload(phase="train", batch=2, seq_len=24),)
WRITING = (
    Workload(phase="train", batch=2, seq_len=12),
    Workload(phase="forward", batch=1, seq_len=7, source_len=19),
    Workload(phase="prefill", batch=3, seq_len=4, source_len=11),
    Workload(phase="decode", batch=2, context_len=9, source_len=14),
    Workload(phase="decode", batch=1, context_len=30),
)
STEPS = (WRITING[0], WRITING[2], WRITING[3])


def step(model: Model, workload: Workload) -> Estimate:
    return estimate(Case(model=model, workload=workload))


def steps_of(model: Model, steps: tuple[Workload, ...]) -> tuple[Workload, ...]:
    """What the model is checked on: an encoder only reads, and Whisper's takes one length."""
    if isinstance(model, Encoder):
        return READING
    assert isinstance(model, EncoderDecoder)
    return tuple(dataclasses.replace(w, source_len=0) for w in steps) if model.source_positions else steps


def check(config: dict[str, Any], steps: tuple[Workload, ...] = STEPS) -> None:
    """Parameters, forward and backward FLOP equal torch's, and every rule of thumb is explained to the FLOP."""
    model, module = model_from_config(config, "checked"), count.meta_model(config)
    assert type(module).__name__ == model.runs  # type: ignore[attr-defined]
    for workload in steps_of(model, steps):
        expected, counted = step(model, workload), count.torch_count(module, workload)
        assert expected.params == counted.params
        assert expected.forward_flop == counted.forward_flop, workload
        assert counted.backward_flop is None or expected.backward_flop == counted.backward_flop
        names = [op.name for op in model.ops(workload)]
        assert len(names) == len(set(names))
        assert [rule.unexplained_flop for rule in rules(model, workload)] == [0] * len(rules(model, workload))


def shallow(config: dict[str, Any]) -> dict[str, Any]:
    """The same model with at most two layers."""
    depths = ("num_hidden_layers", "num_layers", "num_decoder_layers", "n_layers", "encoder_layers", "decoder_layers")
    return {key: min(2, value) if key in depths else value for key, value in config.items()}


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_of_every_shipped_model_are_torchs_and_the_published_ones(name: str) -> None:
    entry = model_entry(name)
    params = count_params(model_from_config(entry.config, name).ops(Workload()))
    assert params == entry.published_params == count.params_of(count.meta_model(entry.config))


@pytest.mark.parametrize("name", SMALLEST)
def test_published_models_count_like_torch_in_every_phase(name: str) -> None:
    check(dict(model_entry(name).config))


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - set(SMALLEST)))
def test_the_widths_of_the_other_shipped_models_count_like_torch(name: str) -> None:
    check(shallow(dict(model_entry(name).config)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SHIPPED) - set(SMALLEST)))
def test_all_shipped_models_count_like_torch_at_full_depth(name: str) -> None:
    check(dict(model_entry(name).config), WRITING)


# Reference: hand formulas of matrix products and torch's counter on meta, both by others; parameters as the checkpoints' files hold them.
@pytest.mark.parametrize(
    ("config", "workload", "params", "forward_flop"),
    [
        ({"model_type": "bert"}, Workload(seq_len=512), 109_482_240, 96_637_943_808),
        (model_entry("t5-small").config, Workload(seq_len=512), 60_506_624, 71_605_157_888),
        (model_entry("whisper-small").config, Workload(seq_len=448), 241_734_912, 543_275_778_048),
    ],
)
def test_reference_counts_of_bert_t5_and_whisper(config: dict[str, Any], workload: Workload, params: int, forward_flop: int) -> None:
    said = step(model_from_config(config, "reference"), workload)
    assert (said.params, said.forward_flop) == (params, forward_flop)


def test_bert_base_by_hand() -> None:
    """12 layers of 12·D² weights and 4·D·S² of attention FLOP (Kaplan et al. 2020, table 1), and a pooler on one token."""
    d, s, layers = 768, 512, 12
    said = step(model_from_config({"model_type": "bert"}, "bert"), Workload(seq_len=s))
    assert said.forward_flop == layers * (2 * s * 12 * d * d + 4 * d * s * s) + 2 * d * d


# --- random configurations -------------------------------------------------------------------------------------------

CLASSES = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
BASES = {
    "albert": "Albert",
    "bert": "Bert",
    "distilbert": "DistilBert",
    "electra": "Electra",
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
def deberta(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.integers(1, 4))
    width = heads * draw(st.integers(1, 10))
    chosen = draw(st.sampled_from(CLASSES))
    return {
        "model_type": "deberta-v2",
        "architectures": [f"DebertaV2{chosen}"],
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
        "embedding_size": draw(st.sampled_from([width, 7])),
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


@st.composite
def t5_like(draw: st.DrawFn) -> dict[str, Any]:
    model_type = draw(st.sampled_from(["t5", "mt5"]))
    chosen = draw(st.none() | st.sampled_from(["Model", "ForConditionalGeneration", "EncoderModel"]))
    return {
        "model_type": model_type,
        **({"architectures": [model_type.upper() + chosen]} if chosen else {}),
        "d_model": draw(st.integers(1, 40)),
        "d_kv": draw(st.integers(1, 12)),
        "d_ff": draw(st.integers(1, 60)),
        "num_heads": draw(st.integers(1, 5)),
        "num_layers": draw(st.integers(1, 3)),
        "num_decoder_layers": draw(st.none() | st.integers(1, 3)),
        "relative_attention_num_buckets": 2 * draw(st.integers(4, 20)),
        "vocab_size": draw(st.integers(5, 90)),
        "feed_forward_proj": draw(st.sampled_from(["relu", "gated-gelu", "gated-silu"])),
        "tie_word_embeddings": draw(st.booleans()),
    }


@given(t5_like())
@settings(max_examples=12, deadline=None)
def test_random_t5s_count_like_torch(config: dict[str, Any]) -> None:
    check(config, WRITING)


@st.composite
def bart_like(draw: st.DrawFn) -> dict[str, Any]:
    model_type, base, head = draw(
        st.sampled_from(
            [
                ("bart", "Bart", "ForConditionalGeneration"),
                ("mbart", "MBart", "ForConditionalGeneration"),
                ("pegasus", "Pegasus", "ForConditionalGeneration"),
                ("marian", "Marian", "MTModel"),
            ]
        )
    )
    vocab = draw(st.integers(5, 90))
    two_vocabularies = draw(st.booleans()) and model_type == "marian"
    return {
        "model_type": model_type,
        **draw(st.sampled_from([{}, {"architectures": [base + head]}, {"architectures": [f"{base}Model"]}])),
        "d_model": 12 * draw(st.integers(1, 4)),
        "encoder_attention_heads": draw(st.sampled_from([1, 2, 3])),
        "decoder_attention_heads": draw(st.sampled_from([1, 4, 6])),
        "encoder_layers": draw(st.integers(1, 3)),
        "decoder_layers": draw(st.integers(1, 3)),
        "encoder_ffn_dim": draw(st.integers(1, 50)),
        "decoder_ffn_dim": draw(st.integers(1, 50)),
        "vocab_size": vocab,
        "max_position_embeddings": draw(st.integers(40, 70)),
        "pad_token_id": 1,
        "decoder_start_token_id": 2,
        "eos_token_id": 2,
        "tie_word_embeddings": draw(st.booleans()),
        **({"share_encoder_decoder_embeddings": False, "decoder_vocab_size": vocab + 3} if two_vocabularies else {}),
    }


@given(bart_like())
@settings(max_examples=12, deadline=None)
def test_random_barts_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def whisper(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "model_type": "whisper",
        "architectures": [draw(st.sampled_from(["WhisperForConditionalGeneration", "WhisperModel"]))],
        "d_model": 12 * draw(st.integers(1, 3)),
        "encoder_attention_heads": draw(st.sampled_from([1, 2, 3])),
        "decoder_attention_heads": draw(st.sampled_from([1, 4, 6])),
        "encoder_layers": draw(st.integers(1, 3)),
        "decoder_layers": draw(st.integers(1, 3)),
        "encoder_ffn_dim": draw(st.integers(1, 50)),
        "decoder_ffn_dim": draw(st.integers(1, 50)),
        "num_mel_bins": draw(st.integers(1, 20)),
        "max_source_positions": draw(st.integers(2, 40)),
        "max_target_positions": draw(st.integers(40, 60)),
        "vocab_size": draw(st.integers(5, 90)),
        "pad_token_id": 1,
        "tie_word_embeddings": draw(st.booleans()),
    }


@given(whisper())
@settings(max_examples=12, deadline=None)
def test_random_whispers_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


# --- what the numbers mean -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "inputs"),
    [
        ({"model_type": "bert", "num_hidden_layers": 3}, ("input_ids",)),
        ({"model_type": "t5", "num_layers": 2}, ("input_ids", "decoder_input_ids")),
    ],
)
def test_full_recomputation_is_what_torch_counts_when_layers_run_forward_again(config: dict[str, Any], inputs: tuple[str, ...]) -> None:
    """Dropout is on, so that torch recomputes each layer to its very end."""
    module = count.meta_model(config).train()
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    counter = count.flop_counter()
    with counter:
        outputs = module(**{name: torch.zeros(1, 32, dtype=torch.long, device="meta") for name in inputs})
        torch.autograd.backward([root.sum() for root in kinds.differentiable(outputs)])
    workload = Workload(phase="train", seq_len=32, recompute="full")
    assert step(model_from_config(config, "checkpointed"), workload).flop["hardware"] == counter.get_total_flops()


def row(ops: tuple[Op, ...], name: str) -> Op:
    return next(op for op in ops if op.name == name)


def test_a_decode_step_reads_cached_keys_of_the_source_and_no_weight_of_the_encoder() -> None:
    """T5-small, 2 sequences, 9 tokens written, 14 read: a cache of 2·512 elements per token and layer, in two bytes each."""
    model = model_from_config(model_entry("t5-small").config, "t5-small")
    ops = model.ops(Workload(phase="decode", batch=2, context_len=9, source_len=14))
    assert row(ops, "decoder.layer.attention.scores").cache_bytes == 2 * (9 + 1) * 2 * 512 * 2
    assert row(ops, "decoder.layer.cross_attention.scores").cache_bytes == 2 * 14 * 2 * 512 * 2
    encoder = [op for op in ops if op.name.startswith("encoder.")]
    assert sum(op.count * op.params for op in encoder) > 0
    assert sum(op.flop + op.weight_bytes + op.cache_bytes + op.activation_bytes for op in encoder) == 0
    assert row(ops, "decoder.layer.cross_attention.key").weight_bytes == 0
    assert row(ops, "decoder.layer.cross_attention.query").weight_bytes == 512 * 512 * 2


def test_a_prefill_writes_keys_of_the_whole_source() -> None:
    model = model_from_config(model_entry("t5-small").config, "t5-small")
    ops = model.ops(Workload(phase="prefill", batch=3, seq_len=1, source_len=100))
    assert row(ops, "decoder.layer.cross_attention.scores").cache_bytes == 3 * 100 * 2 * 512 * 2
    assert row(ops, "decoder.layer.attention.scores").cache_bytes == 3 * 1 * 2 * 512 * 2
    assert row(ops, "encoder.layer.attention.query").mnk == (300, 512, 512)


def test_a_source_is_as_long_as_what_the_decoder_has_seen_unless_it_is_given() -> None:
    model = model_from_config(model_entry("t5-small").config, "t5-small")
    for given_, stated in (
        (Workload(phase="train", seq_len=64), Workload(phase="train", seq_len=64, source_len=64)),
        (Workload(phase="decode", context_len=63), Workload(phase="decode", context_len=63, source_len=64)),
    ):
        assert model.ops(given_) == model.ops(stated)


def test_writing_token_by_token_behind_a_prefill_costs_what_no_causal_kernel_may_skip() -> None:
    """The whole of T5 at once, less its masked pairs, is one prefill of the first token and one decode step per further token."""
    model, source, target = model_from_config(model_entry("t5-small").config, "t5-small"), 20, 7
    whole = Workload(phase="forward", seq_len=target, source_len=source)
    first = step(model, Workload(phase="prefill", seq_len=1, source_len=source)).forward_flop
    rest = sum(step(model, Workload(phase="decode", context_len=i, source_len=source)).forward_flop for i in range(1, target))
    assert first + rest == unskippable_flop(model.ops(whole), whole)


def test_only_the_decoders_own_square_is_halved_under_the_causal_convention() -> None:
    """T5-small: 6 layers, 8 heads of 64: half of 4·L·N·H·T² forward; the encoder and the cross-attention see everything."""
    said = step(model_from_config(model_entry("t5-small").config, "t5-small"), Workload(seq_len=32, source_len=100))
    assert said.flop["full"] - said.flop["causal"] == 2 * 6 * 512 * 32 * 32
    bert = step(model_from_config({"model_type": "bert"}, "bert"), Workload(seq_len=32))
    assert bert.flop["full"] == bert.flop["causal"] == bert.min_flop


def test_a_window_on_both_sides_lets_a_kernel_skip_what_lies_outside() -> None:
    """ModernBERT: 128 tokens wide, 64 on either side and the token itself, in 2 of every 3 layers; written out as a mask."""
    model = model_from_config(model_entry("modernbert-base").config, "modernbert")
    t = 200
    workload = Workload(seq_len=t)
    outside = sum(1 for q in range(t) for k in range(t) if abs(q - k) > 64)
    windowed_layers = sum(1 for i in range(22) if i % 3)
    said = step(model, workload)
    assert said.flop["full"] - said.min_flop == windowed_layers * outside * 4 * 768


def test_alberts_layers_run_twelve_times_and_are_held_once() -> None:
    """Lan et al. 2019: sharing changes parameters, not work: 12 layers of 12·D² weights and 4·D·S² of attention."""
    d, s = 768, 64
    model = model_from_config(model_entry("albert-base-v2").config, "albert")
    assert isinstance(model, Encoder)
    ops = model.ops(Workload(seq_len=s))
    layers = [op for op in ops if op.name.startswith("layer.")]
    assert sum(op.count * op.flop for op in layers) == 12 * (2 * s * 12 * d * d + 4 * d * s * s)
    assert sum(op.count * op.params for op in layers) == 12 * d * d + 4 * d + 3072 + d + 4 * d
    assert isinstance(model.tower.blocks[1], SharedBlock)


def test_whispers_sinusoids_are_parameters_that_no_training_changes() -> None:
    module = count.meta_model(model_entry("whisper-tiny").config)
    ops = model_from_config(model_entry("whisper-tiny").config, "whisper").ops(Workload())
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert sum(op.count * op.trainable_params for op in ops) == trainable
    assert count_params(ops) - trainable == 1500 * 384


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("bert-base-uncased", Workload(phase="train", batch=2, seq_len=40)),
        ("t5-small", Workload(phase="train", batch=2, seq_len=40, source_len=70)),
        ("flan-t5-small", Workload(phase="train", batch=2, seq_len=40)),
        ("bart-base", Workload(phase="train", batch=2, seq_len=40, source_len=70)),
        ("whisper-tiny", Workload(phase="train", batch=2, seq_len=40)),
        ("clip-vit-base-patch32", Workload(phase="train", batch=2)),
    ],
)
def test_the_trainers_rule_is_what_transformers_says_of_every_kind_of_model(name: str, workload: Workload) -> None:
    """Trainer.floating_point_ops: 6 times elements of the main input (mel bins of Whisper, too) times parameters outside embeddings."""
    config = dict(model_entry(name).config)
    module = count.meta_model(config)
    elements = kinds.step_inputs(module, workload)[module.main_input_name].numel()
    found = next(rule for rule in rules(model_from_config(config, name), workload) if rule.name == TRAINER_RULE)
    assert found.flop == 6 * elements * module.num_parameters(exclude_embeddings=True)
    assert found.unexplained_flop == 0


def test_flan_t5_has_a_head_of_its_own_though_transformers_builds_it_tied() -> None:
    """The checkpoint's files hold 2,849,757,184 parameters (Hugging Face, google/flan-t5-xl)."""
    config = dict(model_entry("flan-t5-xl").config)
    apart, tied = (count_params(model_from_config({**config, "tie_word_embeddings": tie}, "flan").ops(Workload())) for tie in (False, True))
    assert (apart, apart - tied) == (2_849_757_184, 32128 * 2048)


# --- requests that make no sense -------------------------------------------------------------------------------------


def test_an_empty_list_of_architectures_names_no_class() -> None:
    model = model_from_config({"model_type": "bert", "architectures": []}, "bert")
    assert isinstance(model, Encoder)
    assert model.runs == type(count.meta_model({"model_type": "bert", "architectures": []})).__name__ == "BertModel"


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_an_encoder_does_not_generate(phase: str) -> None:
    model = model_from_config({"model_type": "bert"}, "bert")
    with pytest.raises(
        BadValueError, match=f"phase '{phase}': bert has no decoder, so that it does not generate; expected one of: train, f"
    ):
        model.ops(Workload(phase=phase))  # type: ignore[arg-type]


def test_an_encoder_keeps_no_cache_and_reads_no_source() -> None:
    model = model_from_config({"model_type": "bert"}, "bert")
    for workload in (Workload(context_len=3), Workload(source_len=5)):
        with pytest.raises(BadValueError, match="bert reads one sequence at once and keeps nothing; leave both at 0"):
            model.ops(workload)


def test_whispers_encoder_takes_thirty_seconds_and_nothing_else() -> None:
    model = model_from_config({"model_type": "whisper"}, "whisper")
    assert model.ops(Workload(source_len=1500)) == model.ops(Workload())
    with pytest.raises(
        BadValueError, match="source_len 1499: the encoder of whisper takes 1500 positions and nothing else; give that or 0"
    ):
        model.ops(Workload(source_len=1499))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "bert", "hidden_size": 770}, "hidden_size 770 is not a multiple of num_attention_heads 12"),
        (
            {"model_type": "bert", "architectures": ["BertForChess"]},
            r"architectures is .*BertForChess.*; expected a list that begins with one",
        ),
        ({"model_type": "bert", "architectures": "BertModel"}, "architectures is 'BertModel'; expected a list"),
        ({"model_type": "bert", "is_decoder": True}, "is_decoder is true; expected an encoder"),
        ({"model_type": "bert", "architectures": ["BertForQuestionAnswering"], "num_labels": 3}, "num_labels is '3'; expected 2: where"),
        ({"model_type": "bert", "architectures": ["BertForTokenClassification"], "id2label": []}, "id2label is"),
        (
            {"model_type": "bert", "architectures": ["BertForTokenClassification"], "id2label": {"0": "a"}, "num_labels": 2},
            "num_labels is '2'; expected the 1 labels of id2label",
        ),
        ({"model_type": "roberta", "max_position_embeddings": 2}, "max_position_embeddings is '2'; expected a whole number from 3"),
        ({"model_type": "albert", "num_hidden_groups": 13}, "num_hidden_groups is '13'; expected at most num_hidden_layers, 12"),
        (
            {"model_type": "deberta-v2", "relative_attention": True, "pos_att_type": ["p2p"]},
            "pos_att_type is .*expected a list of c2p and p2c",
        ),
        ({"model_type": "deberta-v2", "conv_kernel_size": 4}, "conv_kernel_size is '4'; expected an odd number"),
        (
            {"model_type": "deberta-v2", "conv_kernel_size": 3, "conv_groups": 7},
            "conv_groups is '7'; expected a divisor of hidden_size, 1536",
        ),
        (
            {"model_type": "deberta-v2", "attention_head_size": 32},
            "attention_head_size is '32'; expected hidden_size / num_attention_heads, 64",
        ),
        ({"model_type": "modernbert", "layer_types": ["full_attention"]}, "layer_types is .*for each of the 22 layers"),
        ({"model_type": "modernbert", "num_hidden_layers": 10**8}, "num_hidden_layers is '100000000'; expected at most 10,000"),
        ({"model_type": "t5", "feed_forward_proj": "glued-gelu"}, "feed_forward_proj is 'glued-gelu'; expected an activation such as relu"),
        ({"model_type": "bart", "d_model": 1000}, "d_model 1000 is not a multiple of encoder_attention_heads 16"),
        ({"model_type": "marian", "decoder_vocab_size": 7}, "decoder_vocab_size is '7'; expected vocab_size, 58101, where share"),
        ({"model_type": "whisper", "architectures": ["WhisperForAudioClassification"]}, "architectures is .*WhisperForAudioClassification"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused_in_one_line(config: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(config, "hostile")
    assert "\n" not in str(caught.value)


def test_a_class_that_transformers_does_not_have_is_refused_in_one_line() -> None:
    with pytest.raises(BadConfigError, match=r"architectures names 'BertForChess', which transformers .* does not have"):
        count.meta_model({"model_type": "bert", "architectures": ["BertForChess"]})


def test_a_wrong_op_table_is_noticed() -> None:
    """The twin of all checks above: one head, one layer or one tie too many changes the count."""
    right: dict[str, Any] = {
        "model_type": "bart",
        "d_model": 24,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "vocab_size": 50,
    }
    right |= {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    module: nn.Module = count.meta_model(right)
    counted = count.torch_count(module, WRITING[0])
    said = step(model_from_config(right, "right"), WRITING[0])
    assert (said.params, said.forward_flop, said.backward_flop) == (counted.params, counted.forward_flop, counted.backward_flop)
    for change in ({"decoder_layers": 3}, {"encoder_ffn_dim": 33}, {"tie_word_embeddings": False}, {"architectures": ["BartModel"]}):
        wrong = step(model_from_config(right | change, "wrong"), WRITING[0])
        assert (wrong.params, wrong.forward_flop) != (counted.params, counted.forward_flop), change
