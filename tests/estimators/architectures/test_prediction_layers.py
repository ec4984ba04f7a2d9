"""Layers that predict further tokens, of families whose configurations name them."""

from __future__ import annotations

import pytest
import torch

from bench.backend.counting import meta
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.spec import Workload
from reports.views.training.conditions import scope_lines
from tests.support.drawn_decoders import Config

SMALL: Config = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 100,
}
DELTA: Config = SMALL | {
    "model_type": "qwen3_5_text",
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS: Config = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 24}
NEMOTRON: Config = SMALL | {
    "model_type": "nemotron_h",
    "layers_block_type": ["mamba", "attention", "moe"],
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "n_groups": 2,
    "ssm_state_size": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "moe_shared_expert_intermediate_size": 24,
    "num_nextn_predict_layers": 1,
}


def _beside(config: Config) -> int:
    model = model_from_config(config, "small")
    assert isinstance(model, Decoder)
    assert model.prediction is not None
    return count_params(model.prediction.ops(Workload(), model.width, model.vocab))


@pytest.mark.parametrize(
    "config", [DELTA, DELTA | EXPERTS | {"model_type": "qwen3_5_moe_text"}, SMALL | {"model_type": "qwen2"}], ids=lambda c: c["model_type"]
)
def test_their_parameters_are_those_of_transformers_own_layers(config: Config) -> None:
    """Qwen3.5's and MiMo's, which runs Qwen2's class: transformers loads none of them, and would build them as it does DeepSeek's."""
    from transformers.modeling_layers import MtpModel

    module = meta.meta_language_model(config)
    module.config.num_mtp_layers = 1
    module.config.mtp_layer_types = ["full_attention"]
    with torch.device("meta"):
        layers = MtpModel(module, 1).layers
    assert _beside(config | {"mtp_num_hidden_layers": 1}) == meta.params_of(layers)
    assert _beside(config | {"num_nextn_predict_layers": 2}) == 2 * meta.params_of(layers)


def test_nemotrons_are_one_layer_of_attention_and_one_of_experts() -> None:
    """By hand, D = 32.

    Join 2 x 32 x 32 and three norms of 32; attention, 4 heads and 2 of keys, 8 wide: 32 x (32 + 16 + 16) + 32 x 32 and a norm;
    a router of 4 x 32, 4 experts of two matrices of 20 x 32, a shared one of 24 x 32, a norm.
    """
    attention, experts = 32 * 64 + 32 * 32 + 32, 4 * 32 + 4 * 2 * 20 * 32 + 2 * 24 * 32 + 32
    assert _beside(NEMOTRON) == 2 * 32 * 32 + 3 * 32 + attention + experts
    assert _beside(NEMOTRON | {"mtp_hybrid_override_pattern": "*"}) == 2 * 32 * 32 + 3 * 32 + attention
    assert _beside(NEMOTRON | {"mtp_layers_block_type": ["moe"]}) == 2 * 32 * 32 + 3 * 32 + experts


# huggingface.co shows 403B for Qwen3.5-397B-A17B and 7.83B for MiMo-7B-RL (from memory, unchecked): with what lies beside the decoder.
MIMO_7B: Config = {
    "model_type": "mimo",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_nextn_predict_layers": 1,
    "tie_word_embeddings": False,
    "vocab_size": 151680,
}


def test_mimos_decoder_and_prediction_layer_make_the_published_total() -> None:
    model = model_from_config(MIMO_7B, "mimo-7b")
    assert round((count_params(model.ops(Workload())) + _beside(MIMO_7B)) / 1e9, 2) == 7.83


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"num_nextn_predict_layers": 1}, "1 multi-token prediction layer (num_nextn_predict_layers)"),
        ({"num_mtp_modules": 3, "use_mtp": True}, "3 multi-token prediction layers (num_mtp_modules)"),
        ({"num_mtp_modules": 3, "use_mtp": False}, ""),
        ({"num_nextn_predict_layers": 0}, ""),
        ({"num_nextn_predict_layers": None}, ""),
        ({"num_nextn_predict_layers": "one"}, ""),
    ],
    ids=str,
)
def test_layers_of_an_unknown_make_are_named_and_not_counted(more: Config, said: str) -> None:
    config = SMALL | EXPERTS | {"model_type": "minimax_m2", "num_local_experts": 4}
    model = model_from_config(config | more, "small")
    assert model.ops(Workload()) == model_from_config(config, "small").ops(Workload())
    lines = [line for line in scope_lines(model, Workload()) if line.startswith("left out")]
    assert lines == ([f"left out: {said}, whose make the configuration does not say"] if said else [])


def test_they_are_named_inside_a_model_of_several_kinds_of_input() -> None:
    text = SMALL | EXPERTS | {"model_type": "ernie4_5_moe", "num_nextn_predict_layers": 1}
    model = model_from_config({"model_type": "someones_vl", "text_config": text, "vision_config": {}}, "small")
    (line,) = (line for line in scope_lines(model, Workload()) if line.startswith("left out"))
    assert "vision encoder" in line
    assert "1 multi-token prediction layer (num_nextn_predict_layers)" in line
