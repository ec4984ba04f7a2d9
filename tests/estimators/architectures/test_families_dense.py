"""Families of dense decoders: random valid configurations and steps against torch on the meta device, `==`.

What transformers builds from a configuration and torch counts of one step is the truth; the op table is built of the
configuration alone.
"""

from __future__ import annotations

import dataclasses

import pytest

from bench.backend.counting import meta
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.counting.rules_of_thumb import rules
from estimators.spec import Case, Workload
from tests.support.dense_models import DENSE
from tests.support.drawn_decoders import Config, agree, check_random_configurations
from tests.support.vision_language_models import INSIDE_VISION_LANGUAGE


@pytest.mark.parametrize("model_type", DENSE)
def test_random_configurations_of_every_dense_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, DENSE[model_type], 8)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", DENSE)
def test_many_random_configurations_of_every_dense_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, DENSE[model_type], 60)


MODULES = {"gpt", "llama", "llama_variants", "layer_norm", "gemma", "gemma3n", "gemma4"}
CANNOT_DO_WITHOUT = {"hunyuan_v1_dense": {"head_dim": 128}, "ministral": {"head_dim": 128}, "nemotron": {"num_key_value_heads": 48}}
"""What transformers' own model of the class needs though its configuration says None."""


def test_closed_formulas_are_not_applied_to_a_layer_whose_values_are_its_keys() -> None:
    config = {"model_type": "gemma4_text", "hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 1, "vocab_size": 50}
    config |= {"attention_k_eq_v": True, "hidden_size_per_layer_input": 0, "head_dim": 16}
    step = Workload(phase="train", batch=2, seq_len=17)
    agree(model_from_config(config, "m"), meta.meta_language_model(config), step)
    assert {rule.name for rule in rules(model_from_config(config, "m"), step)}.isdisjoint({"PaLM", "Chinchilla"})


def test_no_dense_family_is_without_a_test() -> None:
    here = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in MODULES}
    assert here == DENSE.keys() | {kind for kind in INSIDE_VISION_LANGUAGE if FAMILIES[kind].split(".")[0] in MODULES}


@pytest.mark.parametrize("model_type", DENSE)
def test_a_missing_field_takes_the_default_of_transformers_class(model_type: str) -> None:
    config = {"model_type": model_type} | CANNOT_DO_WITHOUT.get(model_type, {})
    estimated = estimate(Case(model=model_from_config(config, model_type), workload=Workload()))
    assert estimated.params == meta.params_of(meta.meta_language_model(config))


@pytest.mark.parametrize(
    ("key", "model_type"),
    [("num_key_value_heads", each) for each in ("cohere", "ernie4_5", "granite", "internlm3", "llama", "olmo2", "phi3", "qwen2", "qwen3")]
    + [("head_dim", each) for each in ("ernie4_5", "internlm3", "llama", "mistral", "nemotron", "seed_oss")],
)
def test_a_null_is_not_a_missing_field(key: str, model_type: str) -> None:
    """Null is as many key-value heads as heads, and a head width that divides the width, whatever the class's defaults are."""
    config = {"model_type": model_type, "hidden_size": 48, "num_attention_heads": 6, "num_hidden_layers": 1, "num_key_value_heads": 3}
    config |= {"pad_token_id": 0, key: None}
    estimated = estimate(Case(model=model_from_config(config, model_type), workload=Workload()))
    assert estimated.params == meta.params_of(meta.meta_language_model(config))


LOCAL: Config = {"model_type": "gpt_neo", "hidden_size": 8, "num_heads": 1, "num_layers": 1}
LOCAL |= {"window_size": 4, "attention_types": [[["local"], 1]]}


def test_gpt_neo_multiplies_what_its_window_hides_and_a_kernel_may_skip_it() -> None:
    """One local layer, one head of 8, window 4, 9 tokens cached: two products of 2·10·8 FLOP, of whose 10 keys 6 are masked."""
    step = estimate(Case(model=model_from_config(LOCAL, "local"), workload=Workload(phase="decode", context_len=9)))
    assert step.forward_flop - step.min_flop == 2 * (2 * 6 * 8)


def test_a_cache_that_is_wrongly_trimmed_is_noticed() -> None:
    """The twin of the random configurations: GPT-Neo as if its cache dropped what has left the window."""
    model, module = model_from_config(LOCAL, "local"), meta.meta_language_model(LOCAL)
    agree(model, module, Workload(phase="decode", context_len=9))
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    trimmed = dataclasses.replace(block.parts[0][1], trims_cache=True)  # type: ignore[type-var]
    wrong = dataclasses.replace(model, blocks=(dataclasses.replace(block, parts=(("attention", trimmed), block.parts[1])),))
    with pytest.raises(AssertionError):
        agree(wrong, module, Workload(phase="decode", context_len=9))
