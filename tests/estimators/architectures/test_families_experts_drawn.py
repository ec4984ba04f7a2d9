"""Mixtures of experts and latent attention: random configurations against torch on the meta device, `==`."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.backend.counting import meta
from bench.backend.models import language_model
from estimators.architectures import FAMILIES
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params, estimate
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import Config, check_random_configurations
from tests.support.expert_models import EXPERTS
from tests.support.vision_language_models import INSIDE_VISION_LANGUAGE

MODULES = {"experts", "expert_variants", "deepseek", "sparse_latent", "compressed"}
HERE = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in MODULES}


@pytest.mark.parametrize("model_type", EXPERTS)
def test_random_configurations_of_every_family_with_experts_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, EXPERTS[model_type], 10)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", EXPERTS)
def test_many_random_configurations_of_every_family_with_experts_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, EXPERTS[model_type], 80)


def test_no_family_with_experts_is_without_a_test_and_a_published_model() -> None:
    assert EXPERTS.keys() == HERE - INSIDE_VISION_LANGUAGE
    assert {model_entry(name).config["model_type"] for name in model_ids()} >= EXPERTS.keys() - NOT_SHIPPED


NOT_SHIPPED = {"longcat_flash", "sarvam_mla"}
"""Of Sarvam's one checkpoint, 106.0 billion parameters by the class, no more than the 105B of its name is published. LongCat-Flash's files
hold 560B, transformers' class 741B: gates and ups of experts that compute nothing, too."""

CANNOT_DO_WITHOUT = {
    "dbrx": {"d_model": 6144, "attn_config": {"rope_theta": 1e4}},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "num_experts_per_tok": 6, "n_shared_experts": 2},
    "glm4_moe": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
}
"""What transformers' own model of the class needs though its configuration says None, or says what does not divide."""


@pytest.mark.parametrize("model_type", EXPERTS)
def test_a_missing_field_takes_the_default_of_transformers_class(model_type: str) -> None:
    config = {"model_type": model_type} | CANNOT_DO_WITHOUT.get(model_type, {})
    assert count_params(model_from_config(config, model_type).ops(Workload())) == meta.params_of(meta.meta_language_model(config))


@given(EXPERTS["dbrx"], st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_experts_that_meta_cannot_route_cost_what_they_cost_routed_on_a_cpu(fields: Config, seed: int) -> None:
    """DBRX looks for the tokens of each expert; real weights choose unevenly, forward and backward FLOP are the same."""
    config, ids = fields | {"model_type": "dbrx"}, torch.zeros(2, 7, dtype=torch.long)
    torch.manual_seed(seed)
    module, counter = language_model(config, attn="eager").eval(), meta.flop_counter()
    with counter:
        logits = module(input_ids=ids.random_(config["vocab_size"])).logits
    forward = counter.get_total_flops()
    with counter:
        logits.sum().backward()
    step = estimate(Case(model=model_from_config(config, "dbrx"), workload=Workload(phase="train", batch=2, seq_len=7)))
    assert (step.forward_flop, step.backward_flop) == (forward, counter.get_total_flops())


@given(EXPERTS["longcat_flash"], st.integers(0, 2**31))
@settings(max_examples=3, deadline=None)
def test_what_is_routed_to_experts_that_compute_nothing_costs_what_is_counted_less_by_their_products(fields: Config, seed: int) -> None:
    """LongCat-Flash on a CPU, real weights choosing: each choice of such an expert is three products of D x F fewer.

    Of a single choice for each token transformers' class fails.
    """
    config = fields | {"model_type": "longcat_flash", "expert_ffn_hidden_size": 6, "moe_topk": max(2, fields["moe_topk"])}
    torch.manual_seed(seed)
    module, counter, chosen = language_model(config, attn="eager").eval(), meta.flop_counter(), []
    for part in module.modules():
        if type(part).__name__ == "LongcatFlashTopkRouter":
            part.register_forward_hook(lambda _, __, routed: chosen.append(int((routed[2] >= config["n_routed_experts"]).sum())))
    with torch.no_grad(), counter:
        module(input_ids=torch.zeros(2, 7, dtype=torch.long).random_(config["vocab_size"]))
    step = estimate(Case(model=model_from_config(config, "longcat"), workload=Workload(phase="forward", batch=2, seq_len=7)))
    assert len(chosen) == config["num_layers"]
    assert counter.get_total_flops() == step.forward_flop - sum(chosen) * 3 * 2 * config["hidden_size"] * 6
