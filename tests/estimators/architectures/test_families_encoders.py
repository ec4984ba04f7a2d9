"""Encoders: what their figures mean, and configurations of encoders and encoder-decoders that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.backend import model_classes
from bench.backend.counting import meta
from estimators.architectures.encoder import Encoder, SharedBlock
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadConfigError, BadValueError
from estimators.facts.registry import model_entry
from estimators.spec import Workload
from tests.support.encoders_and_images import step
from tests.support.refused_configs import refused


@pytest.mark.parametrize(
    ("config", "inputs"),
    [
        ({"model_type": "bert", "num_hidden_layers": 3}, ("input_ids",)),
        ({"model_type": "t5", "num_layers": 2}, ("input_ids", "decoder_input_ids")),
    ],
)
def test_full_recomputation_is_what_torch_counts_when_layers_run_forward_again(config: dict[str, Any], inputs: tuple[str, ...]) -> None:
    """Dropout is on, so that torch recomputes each layer to its very end."""
    module = meta.meta_model(config).train()
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    counter = meta.flop_counter()
    with counter:
        outputs = module(**{name: torch.zeros(1, 32, dtype=torch.long, device="meta") for name in inputs})
        torch.autograd.backward([root.sum() for root in model_classes.differentiable(outputs)])
    workload = Workload(phase="train", seq_len=32, recompute="full")
    assert step(model_from_config(config, "checkpointed"), workload).flop["hardware"] == counter.get_total_flops()


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


def test_an_empty_list_of_architectures_names_no_class() -> None:
    model = model_from_config({"model_type": "bert", "architectures": []}, "bert")
    assert isinstance(model, Encoder)
    assert model.runs == type(meta.meta_model({"model_type": "bert", "architectures": []})).__name__ == "BertModel"


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
        ({"model_type": "xlm-roberta", "position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'; expected absolute"),
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
    refused(config, match)


def test_a_class_that_transformers_does_not_have_is_refused_in_one_line() -> None:
    with pytest.raises(BadConfigError, match=r"architectures names 'BertForChess', which transformers .* does not have"):
        meta.meta_model({"model_type": "bert", "architectures": ["BertForChess"]})
