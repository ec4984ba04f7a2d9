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
from tests.support.drawn_decoders import (
    Config,
    check_random_configurations,
    family,
    flags,
    own_heads,
    routed,
    shapes,
    sliding,
    windows,
)
from tests.support.latent_attention_models import latent

MODULES = {"experts", "expert_variants", "deepseek"}
HERE = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in MODULES}


width, small = {"intermediate_size": st.integers(8, 40)}, st.integers(4, 24)
layer_lists = st.lists(st.integers(0, 3), max_size=2, unique=True)
qwen = {
    **width,
    "sliding_window": windows,
    "moe_intermediate_size": small,
    "decoder_sparse_step": st.integers(1, 2),
    "mlp_only_layers": layer_lists,
}
padded = family(shapes(), {"pad_token_id": 0}, **width, attention_bias=flags)


@st.composite
def in_parts(draw: st.DrawFn) -> Config:
    """DBRX: sizes of attention and experts in objects of their own; without clip_qkv transformers' class does not run."""
    groups = draw(st.integers(1, 3))
    heads = groups * draw(st.integers(1, 3))
    experts, width = draw(st.integers(2, 6)), heads * draw(st.sampled_from([2, 4, 8]))
    ffn = {"hidden_size": width, "ffn_hidden_size": draw(small), "moe_num_experts": experts, "moe_top_k": draw(st.integers(1, experts))}
    fields = {"d_model": width, "n_heads": heads, "n_layers": draw(st.integers(1, 3)), "vocab_size": draw(st.integers(20, 200))}
    attention = {"kv_n_heads": groups, "clip_qkv": 8, "rope_theta": 1e4}
    return fields | {"attn_config": attention, "ffn_config": ffn}


chunked = st.fixed_dictionaries({}, optional={"no_rope_layer_interval": st.integers(1, 3), "interleave_moe_layer_step": st.integers(1, 2)})

EXPERTS: dict[str, st.SearchStrategy[Config]] = {
    "dbrx": in_parts(),
    "mixtral": routed(family(own_heads(), **width, sliding_window=st.none() | windows)),
    "qwen2_moe": routed(
        sliding(
            family(
                shapes(),
                {"use_sliding_window": True},
                **qwen,
                max_window_layers=st.integers(0, 3),
                shared_expert_intermediate_size=small,
                qkv_bias=flags,
            )
        ),
        num="num_experts",
    ),
    "qwen3_moe": routed(
        family(own_heads(), **qwen, use_sliding_window=flags, attention_bias=flags),
        num="num_experts",
    ),
    "olmoe": routed(padded, num="num_experts"),
    "gpt_oss": routed(sliding(family(own_heads(), **width, sliding_window=windows, attention_bias=flags))),
    "deepseek_v2": latent(st.integers(1, 3), mlp_bias=flags),
    "deepseek_v3": latent(st.integers(1, 3), num_nextn_predict_layers=st.integers(0, 2)).flatmap(
        lambda config: st.sampled_from([(1, 1), (2, 1), (2, 2)]).map(lambda g: config | {"n_group": g[0], "topk_group": g[1]})
    ),
    "granitemoe": routed(padded),
    "phimoe": routed(family(own_heads(), **width, sliding_window=st.none() | windows, attention_bias=flags, lm_head_bias=flags), fixed=2),
    "glm4_moe": routed(
        family(
            own_heads(),
            {"pad_token_id": 0},
            **width,
            moe_intermediate_size=small,
            n_shared_experts=st.integers(1, 2),
            first_k_dense_replace=st.integers(0, 3),
            attention_bias=flags,
            use_qk_norm=flags,
        ),
        num="n_routed_experts",
    ),
    "ernie4_5_moe": routed(
        family(
            own_heads(),
            {"pad_token_id": 0},
            **width,
            moe_intermediate_size=small,
            moe_num_shared_experts=st.integers(0, 2),
            moe_layer_start_index=st.integers(0, 2),
            moe_layer_end_index=st.sampled_from([-1, 1]),
            moe_layer_interval=st.integers(1, 2),
            use_bias=flags,
        ),
        num="moe_num_experts",
        per_token="moe_k",
    ),
    "hunyuan_v1_moe": routed(
        family(shapes(), {"head_dim": 8, "pad_token_id": 0}, **width, attention_bias=flags), num="num_experts", per_token="moe_topk"
    ),
    "llama4_text": routed(
        st.tuples(
            family(
                shapes(),
                {"head_dim": 16, "attention_chunk_size": 12},
                **width,
                intermediate_size_mlp=st.integers(8, 40),
                use_qk_norm=flags,
                attention_bias=flags,
            ),
            chunked,
        ).map(lambda drawn: drawn[0] | drawn[1])
    ),
}


@pytest.mark.parametrize("model_type", EXPERTS)
def test_random_configurations_of_every_family_with_experts_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, EXPERTS[model_type], 10)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", EXPERTS)
def test_many_random_configurations_of_every_family_with_experts_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, EXPERTS[model_type], 80)


def test_no_family_with_experts_is_without_a_test_and_a_published_model() -> None:
    assert EXPERTS.keys() == HERE
    assert {model_entry(name).config["model_type"] for name in model_ids()} >= HERE


CANNOT_DO_WITHOUT = {
    "dbrx": {"d_model": 6144, "attn_config": {"rope_theta": 1e4}},
    "deepseek_v2": {"num_experts_per_tok": 6},
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
