"""A dense Llama of a size: within 2 % of it, shaped as published models are, and counted the same by the op table."""

from __future__ import annotations

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.errors import BadValueError
from estimators.facts.sized_llama import sized_llama
from estimators.spec import Workload

BILLIONS = (*range(1, 40), 65, 70, 72, 110, 175, 405, 671, 1000)
SIZES = [*(f"{size}m" for size in (100, 125, 160, 350, 410, 760)), *(f"{size}b" for size in BILLIONS)]


@pytest.mark.parametrize("text", [*SIZES, "1.3b", "2.7B", "6.7b", "1.5B", " 13B "])
def test_the_size_is_met_within_two_percent_and_counted_so_by_the_op_table(text: str) -> None:
    made = sized_llama(text)
    assert made is not None
    asked = float(text.strip()[:-1]) * (1e9 if text.strip()[-1] in "bB" else 1e6)
    assert made.params == pytest.approx(asked, rel=0.02)
    assert count_params(model_from_config(made.config, made.name).ops(Workload())) == made.params
    config = made.config
    assert config["hidden_size"] == config["num_attention_heads"] * (64 if asked < 1e9 else 128)
    assert config["num_attention_heads"] % config["num_key_value_heads"] == 0


# Touvron et al. 2023, LLaMA (arXiv 2302.13971), table 2: layers and width; the counts are of the checkpoints.
@pytest.mark.parametrize(("text", "layers", "hidden", "params"), [("6.7b", 32, 4096, 6_738_415_616), ("13b", 40, 5120, 13_015_864_320)])
def test_a_published_size_has_the_published_shape(text: str, layers: int, hidden: int, params: int) -> None:
    made = sized_llama(text)
    assert made is not None
    assert (made.config["num_hidden_layers"], made.config["hidden_size"], made.params) == (layers, hidden, params)


@pytest.mark.parametrize("text", ["7b-moe", "8x7b", "7", "b", "llama-7b", "7bb", "-7b", "7 billion", "1e3b", "", "12345b", "7b\n7b"])
def test_what_is_no_size_is_left_to_others(text: str) -> None:
    assert sized_llama(text) is None


@pytest.mark.parametrize("text", ["0b", "50m", "1001b", "9999b"])
def test_a_size_that_no_rule_reaches_is_refused(text: str) -> None:
    with pytest.raises(BadValueError, match="a dense Llama is made of 100M to 1000B parameters"):
        sized_llama(text)
