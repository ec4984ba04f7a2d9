"""architectures of a config.json names the family where model_type is absent or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.from_config import family_of, model_from_config
from estimators.counting.estimate import count_params
from estimators.errors import BadConfigError
from estimators.facts.registry import model_entry
from estimators.spec import Workload

LLAMA: dict[str, Any] = dict(model_entry("llama-3-8b").config)


@pytest.mark.parametrize(
    ("architectures", "family"),
    [
        ("LlamaForCausalLM", "llama"),
        ("Qwen2ForCausalLM", "qwen2"),
        ("Qwen2MoeForCausalLM", "qwen2_moe"),
        ("GPT2LMHeadModel", "gpt2"),
        ("GPTNeoXForCausalLM", "gpt_neox"),
        ("Gemma3ForCausalLM", "gemma3_text"),
        ("DeepseekV3ForCausalLM", "deepseek_v3"),
        ("BertModel", "bert"),
        ("T5ForConditionalGeneration", "t5"),
        ("XLMRobertaForMaskedLM", "xlm-roberta"),
        ("T5WithLMHeadModel", "t5"),
        ("SomebodysForCausalLM", None),
        ("Qwen3_5ForCausalLM", None),
    ],
)
def test_a_class_names_its_family(architectures: str, family: str | None) -> None:
    assert family_of({"architectures": [architectures]}) == family


@pytest.mark.parametrize("model_type", [None, "yi"])
def test_architectures_are_tried_where_the_type_is_absent_or_unknown(model_type: str | None) -> None:
    config = {**LLAMA, "architectures": ["LlamaForCausalLM"]}
    found = model_from_config({key: value for key, value in (config | {"model_type": model_type}).items() if value is not None}, "mine")
    assert count_params(found.ops(Workload())) == model_entry("llama-3-8b").published_params
    assert str(found.source) == "mine, read as llama, whose class architectures names"


def test_a_class_is_not_believed_of_several_parts_whose_sizes_would_be_its_defaults() -> None:
    several = {"architectures": ["LlamaForCausalLM"], "language_config": LLAMA}
    assert family_of(several) is None
    params = [count_params(model_from_config(config, "mine").ops(Workload())) for config in ({"model_type": "several", **several}, LLAMA)]
    assert params[0] == params[1]


def test_without_either_it_is_one_line() -> None:
    with pytest.raises(BadConfigError, match="model_type is 'None'; expected the name of a family"):
        model_from_config({key: value for key, value in LLAMA.items() if key != "model_type"}, "mine")
