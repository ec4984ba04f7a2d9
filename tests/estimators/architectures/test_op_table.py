"""The op table of every shipped model against torch on the meta device: `==`, never a tolerance."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from bench.backend import model_classes
from bench.backend.counting import meta
from bench.workloads.article.networks import build
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params, estimate
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Estimate, Model, Workload
from tests.support.published_digits import half_a_unit_or_a_cut_digit
from tests.support.shipped_sizes import shallow, smallest_of_each_kind

DENSE_MODELS = [name for name in model_ids() if model_entry(name).config["model_type"] == "dense_network"]
OTHER_MODELS = [name for name in model_ids() if model_entry(name).config["model_type"] in model_classes.KINDS]
LANGUAGE_MODELS = [name for name in model_ids() if name not in {*DENSE_MODELS, *OTHER_MODELS}]
WHOLE = smallest_of_each_kind([*LANGUAGE_MODELS, *OTHER_MODELS])
"""Counted whole by every run; the others with two layers, and whole where slow tests run (test_families_published_kinds.py)."""
SLOW_WHOLE = {name for name in WHOLE if model_entry(name).config["model_type"] in ("deepseek_v4", "kimi_linear", "zamba2")}
"""Loops of many operations in every layer, or many layers: these too are counted with two layers by every run, and whole by slow ones."""

WORKLOADS = {
    "train": Workload(phase="train", batch=2, seq_len=96),
    "forward": Workload(phase="forward", batch=1, seq_len=128),
    "prefill": Workload(phase="prefill", batch=3, seq_len=64),
    "decode": Workload(phase="decode", batch=5, context_len=100),
}


def on_meta(name: str) -> nn.Module:
    config = model_entry(name).config
    return meta.meta_language_model({**config, **({"hc_sinkhorn_iters": 1} if "hc_sinkhorn_iters" in config else {})})  # no products


def model(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


def step(name: str, workload: Workload) -> Estimate:
    return estimate(Case(model=model(name), workload=workload))


def assert_equal(name: str, module: nn.Module, workload: Workload) -> None:
    expected, counted = step(name, workload), meta.torch_count(module, workload)
    assert expected.params == counted.params
    assert expected.forward_flop == counted.forward_flop
    if workload.phase == "train":
        assert expected.backward_flop == counted.backward_flop


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_WHOLE else []) for name in WHOLE if name in LANGUAGE_MODELS]
)
def test_the_smallest_language_model_of_each_kind_has_torchs_parameters_and_forward_flop(name: str) -> None:
    assert_equal(name, on_meta(name), Workload(phase="forward", batch=2, seq_len=24))


@pytest.mark.parametrize("name", [name for name in WHOLE if name in OTHER_MODELS])
def test_the_smallest_other_model_of_each_kind_has_torchs_parameters_and_forward_flop(name: str) -> None:
    longest = getattr(model(name), "max_positions", 1)
    assert_equal(name, meta.meta_model(model_entry(name).config), Workload(phase="forward", batch=2, seq_len=min(24, longest)))


@pytest.mark.parametrize("name", sorted({*LANGUAGE_MODELS, *OTHER_MODELS} - {*WHOLE} | SLOW_WHOLE))
def test_every_other_size_has_torchs_parameters_and_forward_flop_with_few_layers(name: str) -> None:
    config = shallow(model_entry(name).config)
    few = model_from_config(config, name)
    workload = Workload(phase="forward", batch=2, seq_len=min(24, getattr(few, "max_positions", 1)))
    expected, counted = estimate(Case(model=few, workload=workload)), meta.torch_count(meta.meta_model(config), workload)
    assert (expected.params, expected.forward_flop) == (counted.params, counted.forward_flop)


@pytest.mark.parametrize("name", ["gpt2", "gpt-3-small", "phi-1"])
def test_language_models_count_like_torch_in_every_phase(name: str) -> None:
    module = on_meta(name)
    for workload in WORKLOADS.values():
        assert_equal(name, module, workload)


@pytest.mark.slow
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_every_shipped_language_model_counts_like_torch_in_every_phase(name: str) -> None:
    module = on_meta(name)
    for workload in WORKLOADS.values():
        assert_equal(name, module, workload)


@pytest.mark.parametrize("name", DENSE_MODELS)
def test_dense_networks_count_like_torch(name: str) -> None:
    config = model_entry(name).config
    with torch.device("meta"):
        module = build(config)
    counted = meta.module_count(module, lambda: torch.zeros(6, config["widths"][0], device="meta"), train=True)
    expected = step(name, Workload(phase="train", batch=6))
    assert (expected.params, expected.forward_flop, expected.backward_flop) == (counted.params, counted.forward_flop, counted.backward_flop)


SLOW_TO_TRACE = [pytest.param(name, marks=pytest.mark.slow) for name in ("llama-3-8b", "mistral-7b", "gpt-3-175b")]


@pytest.mark.parametrize("name", ["gpt2", "phi-1", *SLOW_TO_TRACE])
def test_fvcore_agrees_with_the_op_table_though_it_shares_no_code_with_torchs_counter(name: str) -> None:
    module = on_meta(name)
    for phase in ("forward", "prefill", "decode"):
        by_fvcore = meta.fvcore_model_count(module, WORKLOADS[phase])
        assert by_fvcore.value == step(name, WORKLOADS[phase]).forward_flop


def test_full_recomputation_is_what_torch_counts_when_a_layer_runs_forward_again() -> None:
    """GPT-2's layers end in a dropout, so torch's checkpoint recomputes them to their very end."""
    config = model_entry("gpt2").config
    with torch.device("meta"):
        module = meta.language_model(config, attn="eager").train()
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    workload = Workload(phase="train", seq_len=64, recompute="full")
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    mask = torch.zeros(1, 1, 64, 64, device="meta")
    with counter:
        module(torch.zeros(1, 64, dtype=torch.long, device="meta"), attention_mask=mask, use_cache=False).logits.sum().backward()
    assert step("gpt2", workload).flop["hardware"] == counter.get_total_flops()


def test_a_sliding_window_skips_what_transformers_cache_no_longer_holds() -> None:
    config = {**model_entry("mistral-7b").config, "num_hidden_layers": 2, "sliding_window": 32}
    windowed = model_from_config(config, "windowed")
    module = meta.meta_language_model(config)
    for context in (10, 31, 32, 33, 200):
        workload = Workload(phase="decode", batch=2, context_len=context)
        assert estimate(Case(model=windowed, workload=workload)).forward_flop == meta.torch_count(module, workload).forward_flop


def test_a_wrong_op_table_is_noticed() -> None:
    """The twin: one head more or one layer less changes the count."""
    right = model("phi-2")
    assert isinstance(right, Decoder)
    counted = meta.torch_count(on_meta("phi-2"), WORKLOADS["forward"])
    fewer = dataclasses.replace(right, blocks=(dataclasses.replace(right.blocks[0], count=31),))
    for wrong in (fewer, dataclasses.replace(right, tied=True), dataclasses.replace(right, width=2561)):
        estimated = estimate(Case(model=wrong, workload=WORKLOADS["forward"]))
        assert (estimated.params, estimated.forward_flop) != (counted.params, counted.forward_flop)


@pytest.mark.parametrize("name", model_ids())
def test_published_parameter_counts_hold_to_the_digits_that_were_published(name: str) -> None:
    entry = model_entry(name)
    params = count_params(model(name).ops(Workload()))
    assert abs(params - entry.published_params) <= half_a_unit_or_a_cut_digit(entry.published_params_text)


def test_reference_counts_of_the_literature() -> None:
    """Phi-2: the safetensors index of its checkpoint. GPT-3: vocabulary 50,257 and 2,048 positions, table 2.1."""
    assert count_params(model("phi-2").ops(Workload())) == 2_779_683_840
    assert count_params(model("gpt-3").ops(Workload())) == 174_604_259_328
