"""architectures of a config.json names the family where model_type is absent or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.architectures.named_family import family_of
from estimators.counting.estimate import count_active_params, count_params
from estimators.errors import BadConfigError, NoOpTableError
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


KIMI_K2 = {"num_attention_heads": 64, "num_key_value_heads": 64, "vocab_size": 163840, "n_routed_experts": 384, "first_k_dense_replace": 1}


@pytest.mark.parametrize("config", [KIMI_K2, {"text_config": {"model_type": "kimi_k2", **KIMI_K2}}])
def test_a_type_of_its_authors_own_code_is_the_class_that_it_runs(config: dict[str, Any]) -> None:
    """Kimi K2: DeepSeek V3 but for heads, experts and dense layers. A token leaves 376 of 384 experts, 3·7168·2048 each, in 60 layers."""
    outer = {"model_type": "kimi_k2" if config is KIMI_K2 else "kimi_k25", "tie_word_embeddings": False}
    ops = model_from_config(outer | config, "mine").ops(Workload())
    assert (count_params(ops), count_active_params(ops)) == (1_026_408_209_408, 32_861_477_888)


def test_a_class_is_not_believed_of_several_parts_whose_sizes_would_be_its_defaults() -> None:
    several = {"architectures": ["LlamaForCausalLM"], "language_config": LLAMA}
    assert family_of(several) is None
    params = [count_params(model_from_config(config, "mine").ops(Workload())) for config in ({"model_type": "several", **several}, LLAMA)]
    assert params[0] == params[1]


def test_without_either_it_is_one_line() -> None:
    with pytest.raises(BadConfigError, match="it has no model_type, and architectures names no class of a family"):
        model_from_config({key: value for key, value in LLAMA.items() if key != "model_type"}, "mine")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.1-8B", "r": 16},
            r"an adapter of peft \(LORA\), no model; expected the model that it is of: meta-llama/Llama-3.1-8B, and --lora-rank 16",
        ),
        ({"peft_type": "IA3", "r": None}, r"an adapter of peft \(IA3\), no model; expected the model that it is of, and its rank"),
        (
            {"architecture": "resnet50", "pretrained_cfg": {}},
            r"a configuration of timm \(resnet50\); expected one of transformers or diffusers",
        ),
        ({}, "it has no model_type"),
    ],
)
def test_a_file_beside_a_models_is_told_from_it(config: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfigError, match=said):
        model_from_config(config, "mine")


@pytest.mark.parametrize("named", ["LlamaForCausalLMEagle3", "LlamaForCausalLMEagle"])
def test_a_draft_is_not_counted_as_the_model_that_it_drafts_for(named: str) -> None:
    """EAGLE's has one layer whose queries read two vectors, and a head of fewer words."""
    with pytest.raises(NoOpTableError, match=f"architectures names '{named}'; the op table is of the class with a language model's head"):
        model_from_config(LLAMA | {"architectures": [named]}, "draft")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"architectures": ["LlamaForCausalLM"], "model_type": "mine", "n_embd": 64},
            "hidden_size is missing, and n_embd is 64, which 'llama' does",
        ),
        (
            {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "n_layers": 3},
            "num_hidden_layers is missing, and n_layers is 3, which",
        ),
        (
            {"model_type": "llama", "padded_vocab_size": 70},
            "vocab_size is missing, and padded_vocab_size is 70, which 'llama' does not read",
        ),
        ({"model_type": "nomic_bert", "num_experts": 8, "n_layer": 2}, "n_embd is missing; expected a whole number from 1"),
        ({"model_type": "nomic_bert", "activation_function": "gelu"}, "activation_function is 'gelu'; expected swiglu"),
        (LLAMA | {"auto_map": {}, "num_experts": 8}, None),
        (
            LLAMA | {"auto_map": {"AutoModel": "mine.Model"}, "num_experts": 8},
            "num_experts is '8'; expected 1, or none: the op table of 'llama'",
        ),
    ],
)
def test_a_size_that_is_not_read_is_refused_where_a_default_stood_in_for_it(config: dict[str, Any], said: str | None) -> None:
    """Without code of its own, a model is what transformers makes of its file, whatever else that names."""
    if said is None:
        assert count_params(model_from_config(config, "mine").ops(Workload())) == model_entry("llama-3-8b").published_params
        return
    with pytest.raises(BadConfigError, match=said):
        model_from_config(config, "mine")


def test_nomics_own_names_are_read() -> None:
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 80}
    names = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "intermediate_size": "n_inner"}
    theirs = {names[key]: value for key, value in sizes.items()} | {"auto_map": {"AutoModel": "x.NomicBertModel"}}
    found = [count_params(model_from_config({"model_type": "nomic_bert", **each}, "mine").ops(Workload())) for each in (sizes, theirs)]
    assert found[0] == found[1]


NOMIC_2: dict[str, Any] = {"n_embd": 768, "n_head": 12, "n_inner": 3072, "n_layer": 12, "vocab_size": 250048, "type_vocab_size": 1}
NOMIC_2 |= {"num_experts": 8, "moe_top_k": 2, "moe_every_n_layers": 2, "activation_function": "gelu", "qkv_proj_bias": True}
NOMIC_2 |= {"model_type": "nomic_bert", "mlp_fc1_bias": True, "mlp_fc2_bias": True, "architectures": ["NomicBertModel"]}


def test_nomics_experts_are_counted() -> None:
    """475,292,928 elements in the files of Nomic Embed 2 (from memory, unchecked); a token leaves 6 of 8 experts, 2·768·3072 each."""
    ops = model_from_config(NOMIC_2, "mine").ops(Workload())
    assert count_params(ops) == 475_292_928
    assert count_active_params(ops) == 475_292_928 - 6 * 6 * 2 * 768 * 3072
    with pytest.raises(BadConfigError, match="num_shared_experts is '1'; expected 0: nothing else is known of this type"):
        model_from_config(NOMIC_2 | {"num_shared_experts": 1}, "mine")


@pytest.mark.parametrize(("named", "said"), [("BitnetForCausalLM", True), ("LLaMAForCausalLM", False)])
def test_a_class_of_other_code_than_the_types_is_said(named: str, said: bool) -> None:
    """BitNet's first file is of model_type llama, and its layers have a norm before each of two matrices."""
    model = model_from_config(LLAMA | {"architectures": [named], "auto_map": {"AutoModelForCausalLM": "mine.Model"}}, "mine")
    left_out = f"what the class {named!r} of the code that comes with the repository may have beside llama's"
    assert model.left_out == (left_out if said else "")  # type: ignore[attr-defined]
