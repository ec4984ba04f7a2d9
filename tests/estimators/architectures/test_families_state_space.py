"""State-space models and their hybrids: random and published configurations against torch on the meta device, `==`."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.backend.counting import meta
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import unskippable_flop
from estimators.counting.estimate import count_params, estimate
from estimators.counting.rules_of_thumb import rules
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import (
    Config,
    agree,
    check_published,
    check_random_configurations,
    check_steps,
)
from tests.support.refused_configs import refused
from tests.support.state_space_models import STATE_SPACE

HERE = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in ("state_space", "delta_rule", "hybrids", "zamba")}
SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in HERE]


@st.composite
def steps(draw: st.DrawFn) -> Workload:
    """A step; one in four reaches over the first chunk of 64 tokens, and some sequences are shorter than a filter."""
    phase, batch = draw(st.sampled_from(["train", "prefill", "decode"])), draw(st.integers(1, 3))
    length = draw(st.one_of(st.integers(1, 6), st.integers(7, 30), st.sampled_from([64, 70])))
    if phase == "decode":
        return Workload(phase="decode", batch=batch, context_len=draw(st.integers(0, 12)))
    return Workload(phase=phase, batch=batch, seq_len=length)  # type: ignore[arg-type]


FEW = {"kimi_linear": 4, "zamba2": 8}
"""Examples of a type whose every step runs a loop over the rows of a chunk."""


@pytest.mark.parametrize("model_type", STATE_SPACE)
def test_random_configurations_of_every_state_space_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, STATE_SPACE[model_type], FEW.get(model_type, 20), steps())


@pytest.mark.slow
@pytest.mark.parametrize("model_type", STATE_SPACE)
def test_many_random_configurations_of_every_state_space_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, STATE_SPACE[model_type], 100, steps())


def test_no_state_space_family_is_without_a_test_and_a_published_model() -> None:
    assert STATE_SPACE.keys() == HERE
    assert {model_entry(name).config["model_type"] for name in SHIPPED} == HERE


CANNOT_DO_WITHOUT: dict[str, Config] = {
    "falcon_h1": {"mamba_d_ssm": 8192},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
}
"""What transformers' own model of the class needs though its configuration says None."""


@pytest.mark.parametrize("model_type", STATE_SPACE)
def test_a_missing_field_takes_the_default_of_transformers_class(model_type: str) -> None:
    config = {"model_type": model_type} | CANNOT_DO_WITHOUT.get(model_type, {})
    assert count_params(model_from_config(config, model_type).ops(Workload())) == meta.params_of(meta.meta_language_model(config))


STEPS = (
    Workload(phase="train", batch=2, seq_len=9),
    Workload(phase="prefill", batch=3, seq_len=5),
    Workload(phase="decode", batch=2, context_len=4),
    Workload(phase="decode", batch=3, context_len=20),
)


def shallow(config: Config) -> Config:
    """The same model with so many layers that every kind is among them: Bamba's tenth attends first."""
    layers = {"bamba": 10, "granitemoehybrid": 6, "jamba": 6, "nemotron_h": 8, "zamba2": 7}.get(config["model_type"], 4)
    lists = ("layer_types", "layers_block_type")
    return config | {key: config[key][:layers] for key in lists if key in config} | {"num_hidden_layers": layers}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_published_model_has_the_published_parameters_and_counts_like_torch(name: str) -> None:
    check_published(name, shallow(dict(model_entry(name).config)), STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_published_models_count_like_torch_at_full_depth(name: str) -> None:
    check_steps(name, model_entry(name).config, STEPS[:3])


@given(st.sampled_from(sorted(HERE)), st.data(), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_what_no_kernel_may_skip_is_no_more_than_decoding_token_by_token(model_type: str, data: st.DataObject, seq_len: int) -> None:
    """Decoding is one way to run the sequence, so that no lower bound may be above it."""
    model = model_from_config(data.draw(STATE_SPACE[model_type]) | {"model_type": model_type}, "drawn")
    whole = Workload(phase="forward", seq_len=seq_len)
    steps = (Workload(phase="decode", context_len=i) for i in range(seq_len))
    assert unskippable_flop(model.ops(whole), whole) <= sum(estimate(Case(model=model, workload=step)).forward_flop for step in steps)


@pytest.mark.parametrize("name", SHIPPED)
def test_rules_of_thumb_name_the_scans(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    for rule in rules(model, Workload(phase="train", seq_len=128)):
        assert rule.unexplained_flop == 0
        assert name.startswith("lfm2") or any(part.startswith("scans of a state") for part, _ in rule.difference)


def test_the_closed_formulas_of_dense_models_are_not_applied_to_hybrids() -> None:
    model = model_from_config(model_entry("falcon-h1-0.5b").config, "falcon")
    assert {rule.name for rule in rules(model, Workload(phase="train", seq_len=8))}.isdisjoint({"PaLM", "Chinchilla"})


def test_one_state_more_is_noticed() -> None:
    config = shallow(dict(model_entry("mamba-130m").config))
    model, module = model_from_config(config, "mamba"), meta.meta_language_model(config)
    agree(model, module, STEPS[1])
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    larger = dataclasses.replace(block.parts[0][1], state=17)  # type: ignore[type-var]
    with pytest.raises(AssertionError):
        agree(dataclasses.replace(model, blocks=(dataclasses.replace(block, parts=(("mixer", larger),)),)), module, STEPS[1])


JAMBA: Config = {"model_type": "jamba", "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 4}
NEXT: Config = {**JAMBA, "model_type": "qwen3_next"}


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "mamba", "state_size": 0}, "state_size is '0'"),
        ({"model_type": "mamba", "time_step_rank": "half"}, "time_step_rank is 'half'"),
        ({"model_type": "mamba", "conv_kernel": -4}, "conv_kernel is '-4'"),
        ({"model_type": "mamba2", "num_heads": 80}, "num_heads is '80'; expected num_heads times head_dim to be .* 8,192"),
        ({"model_type": "mamba2", "n_groups": 3}, "num_heads 128 is not a multiple of n_groups 3"),
        (JAMBA | {"attn_layer_offset": 8}, "attn_layer_offset is '8'; expected less than attn_layer_period, which is 8"),
        (JAMBA | {"expert_layer_offset": 2}, "expert_layer_offset is '2'"),
        (JAMBA | {"num_experts": 1}, "num_experts_per_tok is '2'"),
        ({"model_type": "bamba", "mamba_n_heads": 100}, "the mixer's width 8192 is not a multiple of mamba_n_heads 100"),
        ({"model_type": "bamba", "mamba_d_head": 63}, "mamba_d_head is '63'; expected 64: 8,192 channels of 128 mamba_n_heads"),
        ({"model_type": "bamba", "attn_layer_indices": [-1]}, r"attn_layer_indices is '\[-1\]'; expected a list of layer indices"),
        ({"model_type": "falcon_h1", "mamba_d_ssm": 0}, "mamba_d_ssm is '0'"),
        (NEXT | {"layer_types": ["sliding_attention"] * 4}, "layer_types is .* each one of full_attention, linear_attention"),
        (NEXT | {"linear_num_value_heads": 15}, "linear_num_value_heads 15 is not a multiple of linear_num_key_heads 16"),
        (NEXT | {"full_attention_interval": 0}, "full_attention_interval is '0'"),
        ({"model_type": "zamba2", "n_mamba_heads": 7}, "the mixer's width 5120 is not a multiple of n_mamba_heads 7"),
        ({"model_type": "zamba2", "num_hidden_layers": 6}, "num_hidden_layers is '6'; expected 54 where layers_block_type says nothing"),
        ({"model_type": "zamba2", "layers_block_type": ["attention"] * 54}, "layers_block_type is .* linear_attention, mamba, hybrid"),
        (
            {"model_type": "zamba2", "num_key_value_heads": 8, "use_shared_attention_adapter": True},
            "num_key_value_heads is '8'; expected 32, as num_attention_heads",
        ),
    ],
)
def test_a_field_that_makes_no_sense_is_named_in_one_line(config: Config, match: str) -> None:
    refused(config, match)
