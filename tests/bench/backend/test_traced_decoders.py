"""A traced decoder is served and fine-tuned as the hand-written table of its family is, which other tests hold to torch."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import Any, Literal

import pytest

from bench.backend.tracing.trace import trace_config
from estimators.architectures.adapters import with_adapters, with_frozen_layers
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.architectures.traced_decoder import as_decoder
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.method import FULL, TrainingMethod
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.held_weights import weights_by_stage
from estimators.serving.kv_cache import kv_cache
from estimators.serving.work import model_work
from estimators.spec import Case, Estimate, Model, Workload
from estimators.tuning.job import TuningJob
from estimators.tuning.memory import memory_of_job
from estimators.tuning.recipes import recipe

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "max_position_embeddings": 8192,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "tie_word_embeddings": False}
SLIDING = {"sliding_window": 512, "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]}
CONFIGS: dict[str, dict[str, Any]] = {"llama": {}, "qwen3_moe": EXPERTS, "gemma3_text": SLIDING}
FAMILIES = ["llama", pytest.param("qwen3_moe", marks=pytest.mark.slow), pytest.param("gemma3_text", marks=pytest.mark.slow)]

PHASES = (Workload(phase="train", seq_len=100, batch=2), Workload(phase="prefill", seq_len=700), Workload(phase="decode", context_len=700))


@functools.cache
def both(family: str) -> tuple[Model, Model]:
    config = {**SIZES, **CONFIGS[family], "model_type": family}
    return model_from_config(config, family), trace_config(config, family)


def counted(model: Model, workload: Workload) -> Estimate:
    return estimate(Case(model=model, workload=workload))


@pytest.mark.parametrize("family", FAMILIES)
def test_its_layers_have_all_that_was_traced(family: str) -> None:
    _, traced = both(family)
    decoder = as_decoder(traced)
    assert decoder is not None
    for workload in PHASES:
        a, b = counted(traced, workload), counted(decoder, workload)
        figures = ("params", "active_params", "forward_flop", "backward_flop", "flop", "params_by_component")
        assert [getattr(a, name) for name in figures] == [getattr(b, name) for name in figures]
    assert decoder.stack == traced.stack


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_served_as_the_family_s_table_is(family: str) -> None:
    """All but element-wise work, which transformers writes out and the table fuses."""
    by_hand, traced = both(family)
    decoder = as_decoder(traced)
    assert isinstance(by_hand, Decoder)
    assert decoder is not None
    said, seen = model_work(by_hand), model_work(decoder)
    different = {each.name for each in fields(said) if getattr(said, each.name) != getattr(seen, each.name)}
    assert different == {"cut_elements", "whole_elements"}
    for tp in (1, 2, 4):
        assert kv_cache(by_hand, tp=tp) == kv_cache(traced, tp=tp)
    one = Deployment(model=by_hand, hardware=hardware("h100-sxm5-80gb"), engine=engine("sglang"), weights="fp8")
    for tp, pp in ((1, 1), (2, 1), (1, 2)):
        stages = [weights_by_stage(replace(one, model=model, tp=tp, pp=pp)) for model in (by_hand, traced)]
        assert sum(stage.total_bytes for stage in stages[1]) == pytest.approx(sum(stage.total_bytes for stage in stages[0]), rel=0.003)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_train_and_cost_what_they_do_beside_the_family_s_table(family: str) -> None:
    workload = Workload(phase="train", seq_len=100, batch=2)
    a, b = (counted(with_adapters(model, 4), workload) for model in both(family))
    figures = ("params", "trainable_params", "forward_flop", "backward_flop")
    assert [getattr(a, name) for name in figures] == [getattr(b, name) for name in figures]


@pytest.mark.parametrize(("method", "above"), [(FULL, 1.08), (TrainingMethod(rank=4), 1.2)], ids=["full", "lora"])
@pytest.mark.parametrize("checkpointing", ["none", "full"])
def test_a_fine_tuning_holds_about_as_much(method: TrainingMethod, above: float, checkpointing: Literal["none", "full"]) -> None:
    """What transformers' own operators keep is in its law and in its trace; which frozen matrix spares which input is in the law alone."""
    held = []
    for model in both("llama"):
        job = TuningJob(model=model, method=method, recipe=recipe("transformers"), seq_len=512, checkpointing=checkpointing)
        held.append(max(moment.total_bytes for moment in memory_of_job(job, 80e9).moments))
    assert 0.98 < held[1] / held[0] < above


def test_frozen_layers_of_alike_layers() -> None:
    workload = Workload(phase="train", seq_len=100, batch=2)
    a, b = (counted(with_frozen_layers(model, 2), workload) for model in both("llama"))
    assert (a.trainable_params, a.forward_flop, a.backward_flop) == (b.trainable_params, b.forward_flop, b.backward_flop)


@pytest.mark.slow
def test_latents_are_refused_by_name() -> None:
    """Transformers caches what they expand to; engines do not."""
    latent = {"q_lora_rank": 32, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
    experts = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1, "topk_group": 1}
    sizes = {name: value for name, value in SIZES.items() if name != "head_dim"}
    config = {**sizes, **latent, **experts, "first_k_dense_replace": 1, "num_key_value_heads": 4, "model_type": "deepseek_v3"}
    traced = trace_config(config, "latent")
    deployment = Deployment(model=traced, hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm"))
    with pytest.raises(BadValueError, match="latent caches latents in engines and what they expand to in transformers"):
        weights_by_stage(deployment)
