"""The simulator's speed: ten thousand requests in the time of so many bare operations, and against steps one by one.

Run with: python -m pytest tests/estimators/serving/test_bench_simulate.py --benchmark-only
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from estimators.facts.registry import hardware
from estimators.lengths import Lengths, lengths_of_count, uniform_lengths
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.mean_field import Terms, mean_field
from estimators.serving.requests import closed_loop
from estimators.serving.schedule import Schedule
from estimators.serving.simulate import simulate
from estimators.serving.step import step_law
from estimators.validation.model import shipped_model
from tests.support.stepped_serving import AffineLaw, stepped

NUMBER = 10_000
BARE_OPERATIONS = 20_000_000
"""Additions of a plain loop that ten thousand requests may cost: a second where one takes 50 ns."""

LAW = step_law(Deployment(model=shipped_model("llama-3.1-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm")))
SCHEDULE = Schedule(blocks=27_000, block_tokens=16, token_budget=8192, max_num_seqs=256, schedules_ahead=True)


def processor_s(run: Callable[[], object], rounds: int = 5) -> float:
    """Processor time of one run, the least of a few: what else the machine does is not in it."""

    def once() -> float:
        started_s = time.process_time()
        run()
        return time.process_time() - started_s

    return min(once() for _ in range(rounds))


def add() -> int:
    total = 0
    for place in range(10**6):
        total += place
    return total


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [
        (lengths_of_count(1000, NUMBER, source="alike"), lengths_of_count(300, NUMBER, source="alike")),
        (uniform_lengths(NUMBER, 500, 1500), uniform_lengths(NUMBER, 100, 500)),
    ],
    ids=["alike", "spread"],
)
def test_ten_thousand_requests_cost_as_much_as_twenty_million_additions_at_most(benchmark: Any, prompts: Lengths, answers: Lengths) -> None:
    load = closed_loop(prompts, answers, 64)
    simulation = benchmark.pedantic(simulate, args=(LAW, SCHEDULE, load), rounds=2, warmup_rounds=1)
    bare_operations = processor_s(lambda: simulate(LAW, SCHEDULE, load)) / (processor_s(add) / 10**6)
    steps, runs = sum(simulation.stamps.step_count), len(simulation.stamps.step_s)
    benchmark.extra_info.update(steps=steps, runs=runs, bare_operations=bare_operations)
    assert bare_operations <= BARE_OPERATIONS


def test_runs_of_steps_make_it_ten_times_as_fast_as_steps_one_by_one(benchmark: Any) -> None:
    """Sixty-four requests that write 1,000 tokens, twice."""
    plain = Schedule(blocks=27_000, block_tokens=16, token_budget=8192, max_num_seqs=256)
    load = closed_loop(lengths_of_count(1000, 128, source="alike"), lengths_of_count(1000, 128, source="alike"), 64)
    benchmark.pedantic(simulate, args=(AffineLaw(), plain, load), rounds=5, warmup_rounds=1)
    singly_s = processor_s(lambda: stepped(AffineLaw(), plain, load), 1)
    ratio = singly_s / processor_s(lambda: simulate(AffineLaw(), plain, load))
    benchmark.extra_info["ratio"] = ratio
    assert ratio >= 10


def test_a_curve_of_256_costs_as_much_as_40_of_its_points_at_most(benchmark: Any) -> None:
    users, terms = np.arange(1.0, 257.0), Terms(limit=300.0, token_budget=8192, schedules_ahead=True)

    def curve() -> Any:
        return mean_field(LAW, terms, input_tokens=1000, output_tokens=300, users=users)

    benchmark(curve)
    points_s = processor_s(lambda: [mean_field(LAW, terms, input_tokens=1000, output_tokens=300, users=float(n)) for n in users[:40]])
    ratio = processor_s(curve) / points_s
    benchmark.extra_info["ratio"] = ratio
    assert ratio <= 1
