"""Model types without an op table are counted on meta, labelled so; remote code never runs."""

from __future__ import annotations

from typing import Any

import pytest

from bench.backend import count
from bench.backend.fallback import count_config
from estimators.architectures import FAMILIES
from estimators.errors import BadConfigError
from estimators.spec import Workload

XGLM: dict[str, Any] = {"model_type": "xglm", "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "vocab_size": 100}


def test_a_decoder_without_an_op_table_is_counted_in_every_phase_by_hand() -> None:
    """XGLM: per layer 4·D² + 2·D·F weights, a tied head of V·D, attention 4·D·T a token; decode after 16 tokens meets 17."""
    assert "xglm" not in FAMILIES
    said = count_config(XGLM, batch=2, seq_len=16)
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64) + 100 * 32
    attention = 2 * 4 * 32
    assert said.network.forward_flop == 2 * 16 * (2 * weights + attention * 16)
    assert said.network.backward_flop == 2 * said.network.forward_flop
    assert said.decode_flop == 2 * (2 * weights + attention * 17)
    assert said.built_as == "XGLMForCausalLM"
    assert said.network.unseen == ()


def test_the_fallback_agrees_with_the_route_that_known_families_take() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": 50,
    }
    said = count_config(config, batch=1, seq_len=8)
    assert said.network.forward_flop == count.torch_count(count.meta_language_model(config), Workload(seq_len=8)).forward_flop


def test_an_image_model_gets_images_of_its_own_size() -> None:
    config = {"model_type": "levit", "image_size": 32, "architectures": ["LevitForImageClassification"]}
    said = count_config(config, batch=1, seq_len=1)
    assert said.network.forward_flop > 0
    assert said.network.params > 0
    assert said.decode_flop is None
    assert "no cache" in said.decode_reason


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "no_such_type"}, "has no op table and transformers .* does not know it"),
        ({"model_type": "my_model", "auto_map": {"AutoModel": "evil.Model"}}, "its own code .auto_map. is never executed"),
        ({"model_type": None}, "does not know it"),
        (XGLM | {"attention_heads": 5}, "transformers cannot build 'xglm'|does not run"),
        (XGLM | {"d_model": -1}, "transformers cannot build 'xglm'|refuses"),
    ],
)
def test_what_cannot_be_counted_is_one_line(config: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        count_config(config, batch=1, seq_len=8)
    assert "\n" not in str(caught.value)
