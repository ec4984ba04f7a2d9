"""Steps of served models against measured ones, and against closed forms of their parts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.counting.estimate import estimate
from estimators.facts.registry import hardware
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.figures import STATIC, Asked, figures
from estimators.serving.step import step_law
from estimators.serving.step_batch import StepBatch
from estimators.spec import Case, Workload
from estimators.validation.model import shipped_model

RANKS = {
    "gpt2": (1, 2, 4),
    "llama-2-7b": (1, 2, 4, 8),
    "llama-3-8b": (1, 2, 4, 8),
    "gemma-2-9b": (1, 2, 4, 8),
    "falcon-7b": (1,),
    "gpt-oss-20b": (1, 2, 4, 8),
    "mixtral-8x7b": (1, 2, 4, 8),
    "llama-4-scout": (1, 2, 4, 8),
    "deepseek-v3": (1, 2, 4, 8),
    "falcon-h1-0.5b": (1, 2, 4),
}
"""Models of every kind of attention and feed-forward, and ranks that divide their heads."""

DEVICES = ("a100-sxm4-80gb", "h100-sxm5-80gb", "b200-sxm-180gb", "mi300x-192gb", "l4-24gb", "v100-sxm2-32gb")


def deployed(model: str, device: str, tp: int = 1, engine_id: str = "vllm", compute: str = "fp16") -> Deployment:
    """A deployment by names."""
    return Deployment(model=shipped_model(model), hardware=hardware(device), engine=engine(engine_id), tp=tp, compute=compute)


@given(
    name=st.sampled_from(sorted(RANKS)),
    device=st.sampled_from(DEVICES),
    batch=st.integers(1, 512),
    tokens=st.integers(1, 1024),
    reads=st.booleans(),
    place=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_no_step_is_faster_than_physics(name: str, device: str, batch: int, tokens: int, reads: bool, place: int) -> None:
    """FLOP over peak and bytes over bandwidth of all devices together, by the sums of `estimate`, which know no serving."""
    tp = RANKS[name][place % len(RANKS[name])]
    workload = (
        Workload(phase="prefill", batch=batch, seq_len=tokens, dtype="fp16")
        if reads
        else Workload(phase="decode", batch=batch, context_len=tokens, dtype="fp16")
    )
    asked = (
        StepBatch(prompt_tokens=batch * tokens, prompt_context=tokens / 2, prompts=batch)
        if reads
        else StepBatch(decoding=batch, context_tokens=tokens)
    )
    found = step_law(deployed(name, device, tp)).time(asked)
    least = estimate(Case(model=shipped_model(name), workload=workload))
    bound_s = max(least.min_flop / hardware(device).peak("fp16"), least.min_bytes / hardware(device).memory_bytes_per_s) / tp
    assert found.total_s >= found.bound_s
    assert found.total_s >= 0.999 * bound_s
    if not reads and name not in ("gpt2", "falcon-h1-0.5b", "gpt-oss-20b"):  # tables of positions, states and sinks, which `estimate` reads
        assert found.bound_s >= 0.98 * bound_s


GENERATIONS = [
    ("llama-2-7b", "h100-sxm5-80gb", 1, 7.83853),
    ("llama-2-7b", "h100-sxm5-80gb", 16, 13.1687),
    ("llama-2-7b", "h100-sxm5-80gb", 32, 19.1405),
    ("llama-3-8b", "h100-sxm5-80gb", 1, 8.09776),
    ("llama-3-8b", "h100-sxm5-80gb", 32, 13.0567),
    ("llama-3-8b", "h100-sxm5-80gb", 64, 18.8087),
    ("llama-3-8b", "a100-sxm4-40gb", 16, 19.9144),
    ("llama-3-8b", "a100-sxm4-40gb", 32, 26.3555),
]
"""Model, device, batch, and measured seconds of a generation."""


def test_generations_lie_near_what_was_measured_on_one_device() -> None:
    """Prompts of 1,024 tokens and as many new ones, vLLM of 2024: 13 % in the middle, which two sources of the same job differ by, and 20 %
    at worst.

    Source: Chitty-Venkata et al. 2024 (arXiv 2411.00136); github.com/argonne-lcf/LLM-Inference-Bench, Plots/All_results.csv at
    4211f5d, BSD 3-clause.
    """
    missed = []
    for model, device, batch, measured_s in GENERATIONS:
        d = deployed(model, device, engine_id="vllm-2024")
        asked = Asked(load=STATIC, sequences=batch, input_tokens=1024, output_tokens=1024)
        missed.append(abs(float(figures(d, asked, step_law(d))["generation_s"]) / measured_s - 1))
    assert sorted(missed)[len(missed) // 2] < 0.13
    assert max(missed) < 0.2


MIXED = [(512, 4, 7.41e-3), (512, 16, 9.56e-3), (2_048, 4, 15.09e-3), (4_096, 4, 31.35e-3), (4_096, 16, 52.81e-3)]
"""Tokens of the prompt that a step reads, sequences that decode beside it, and its measured seconds."""


def test_mixed_steps_lie_near_what_was_measured() -> None:
    """vLLM 0.18 on an H200, a small Qwen3 of unstated size: the nearest of those that ship lies within 35 % in the middle and 50 % at
    worst, for steps that were worked out of two rates each; a sum of separate operators is 1.5 to 3 times as much.

    Source: ai-dynamo/aiconfigurator, issue 1150.
    """
    missed = {}
    for model in ("qwen3-1.7b", "qwen3-4b", "qwen3-8b"):
        law = step_law(deployed(model, "h200-sxm-141gb", compute="bf16"))
        missed[model] = sorted(
            abs(
                law.time(StepBatch(decoding=n, context_tokens=read, prompt_tokens=read, prompt_context=read / 2, prompts=1)).total_s / s - 1
            )
            for read, n, s in MIXED
        )
    nearest = min(missed.values(), key=lambda errors: errors[-1])
    assert nearest[2] < 0.35, missed
    assert nearest[-1] < 0.5, missed


@pytest.mark.parametrize("model", ["llama-3-8b", "deepseek-v3"])
def test_prompts_beside_decoding_sequences_cost_less_than_by_themselves(model: str) -> None:
    """One product serves all tokens of a step: weights are read once, and layers issued once."""
    law = step_law(deployed(model, "b200-sxm-180gb", 8))
    decode, read = StepBatch(decoding=64, context_tokens=1000), StepBatch(prompt_tokens=1000, prompt_context=500, prompts=1)
    both = StepBatch(decoding=64, context_tokens=1000, prompt_tokens=1000, prompt_context=500, prompts=1)
    apart_s = law.time(decode).total_s + law.time(read).total_s
    assert law.time(decode).total_s < law.time(both).total_s < 0.95 * apart_s
