"""Speed of a step's law, and of what a load is asked, beside a loop of bare Python in the same run.

Run with: python -m pytest tests/estimators/serving/test_bench_step.py --benchmark-only
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from estimators.facts.registry import hardware
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import device_work
from estimators.serving.engines import engine
from estimators.serving.figures import CLOSED, Asked, figures
from estimators.serving.step import step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model

LOOP_S = 8e-6
"""That a sum of a thousand numbers takes on one free core of 2020."""


def deployed(model: str, weights: str, tp: int) -> Deployment:
    """On H200s."""
    return Deployment(model=shipped_model(model), hardware=hardware("h200-sxm-141gb"), engine=engine("vllm"), tp=tp, weights=weights)


DEPLOYED = {"llama-3-8b": deployed("llama-3-8b", "16-bit", 1), "deepseek-v3": deployed("deepseek-v3", "fp8-tiles", 8)}


def loops(seconds: float) -> float:
    """A duration in sums of a thousand numbers, made now: whatever else the machine does takes as much of both."""
    found = []
    for _ in range(200):
        started_s = time.perf_counter()
        sum(range(1000))
        found.append(time.perf_counter() - started_s)
    return seconds / min(found)


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_step_takes_twenty_microseconds(benchmark: Any, name: str) -> None:
    law, batch = step_law(DEPLOYED[name]), StepBatch(decoding=64, context_tokens=1000, prompt_tokens=500, prompt_context=250, prompts=1)
    benchmark(law.time, batch)
    assert loops(benchmark.stats.stats.min) <= 20e-6 / LOOP_S


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_law_is_compiled_in_a_third_of_a_millisecond(benchmark: Any, name: str) -> None:
    device_work(DEPLOYED[name])  # the op table is read once for each model and format

    def compiled() -> None:
        step_law.cache_clear()
        step_law(DEPLOYED[name])

    benchmark(compiled)
    assert loops(benchmark.stats.stats.min) <= 0.3e-3 / LOOP_S


@pytest.mark.parametrize("name", DEPLOYED)
def test_an_estimate_of_a_load_takes_five_milliseconds(benchmark: Any, name: str) -> None:
    asked = Asked(load=CLOSED, sequences=64, input_tokens=1000, output_tokens=300)

    def estimate() -> None:
        step_law.cache_clear()
        figures(DEPLOYED[name], asked, step_law(DEPLOYED[name]))

    benchmark(estimate)
    assert loops(benchmark.stats.stats.min) <= 5e-3 / LOOP_S
