"""What answers cost: one load, a curve, ten thousand deployments, beside one scalar step in the same run.

Run with: python -m pytest tests/estimators/serving/test_bench_serve.py --benchmark-only
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.serving.answer import serve
from estimators.serving.budget import budget
from estimators.serving.curve import Curve
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.question import ServeQuestion
from estimators.serving.search import search, usual_ways
from estimators.serving.step import step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model


@pytest.fixture
def question() -> ServeQuestion:
    served = Deployment(
        model=shipped_model("llama-3.1-70b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm"), tp=4, weights="fp8"
    )
    return ServeQuestion(deployment=served, input_tokens=1000, output_tokens=300, users=(1, 256), ttft_limit_s=1.0, itl_limit_s=0.05)


def steps_of(benchmark: Any, question: ServeQuestion, work: Callable[[], object], rounds: int) -> float:
    """The least time of some work, in scalar steps of the same run."""
    law, batch = step_law(question.deployment), StepBatch(decoding=64, context_tokens=1150)
    step_s, work_s = [], []

    def pair() -> None:
        begun_s = time.perf_counter()
        for _ in range(200):
            law.time(batch)
        between_s = time.perf_counter()
        work()
        step_s.append((between_s - begun_s) / 200)
        work_s.append(time.perf_counter() - between_s)

    benchmark.pedantic(pair, rounds=rounds, warmup_rounds=2)
    benchmark.extra_info.update(step_s=min(step_s), work_s=min(work_s))
    return min(work_s) / min(step_s)


def test_one_load_costs_at_most_a_hundred_steps(benchmark: Any, question: ServeQuestion) -> None:
    """A step takes about 15 us: 1.5 ms, of the 5 that one estimate may take."""
    load = Curve(question, budget(question.deployment))
    assert steps_of(benchmark, question, lambda: load.point(64), 50) <= 100


def test_a_curve_with_its_limits_and_their_interval_costs_at_most_2500_steps(benchmark: Any, question: ServeQuestion) -> None:
    assert steps_of(benchmark, question, lambda: serve(question), 30) <= 2500


def test_ten_thousand_deployments_cost_at_most_sixty_steps_each(benchmark: Any, question: ServeQuestion) -> None:
    """About 0.1 ms each, a second in all; 5 are allowed."""
    ways = usual_ways(replace(question, deployment=replace(question.deployment, weights="16-bit")))
    ways = replace(ways, max_num_seqs=tuple(range(8, 8 + 4 * 120, 4)))
    number = search(question, ways).num_candidates
    assert number >= 10_000
    assert steps_of(benchmark, question, lambda: search(question, ways), 3) <= 60 * number
    assert benchmark.extra_info["work_s"] < 5
