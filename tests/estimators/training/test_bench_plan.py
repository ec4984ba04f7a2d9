"""The planner's speed: layouts per second with memory, a whole search, and one estimate in process.

Run with: python -m pytest tests/estimators/training/test_bench_plan.py --benchmark-only
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from estimators.training.layouts.priced_lanes import CHUNK, priced_lanes
from tests.support.planner_jobs import job

GPT3 = job("gpt-3")
MIXTURE = job("deepseek-v3", "h100-sxm5-80gb", 4096)
BARE_OPERATIONS = 1000
"""Elementwise operations on doubles that pricing one layout may cost: the op table's products alone are some two hundred."""


def least_s(run: Any, rounds: int = 7) -> float:
    """Of a few runs: whatever else the machine does only ever adds time."""
    found = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        run()
        found.append(time.perf_counter() - started_s)
    return min(found)


def bare_s() -> float:
    """Seconds of one multiply-add in numpy on as many lanes as a chunk has, per lane."""
    a, b, c = (np.full(CHUNK, value) for value in (1.0, 2.0, 3.0))
    return least_s(lambda: [a * b + c for _ in range(100)]) / 100 / CHUNK


def test_layouts_are_priced_in_at_most_a_thousand_bare_operations_each(benchmark: Any) -> None:
    found = benchmark(priced_lanes, MIXTURE, 2048, 4096)
    seconds = benchmark.stats.stats.min / len(found.lanes)
    benchmark.extra_info.update(num_layouts=len(found.lanes), layouts_per_s=1 / seconds, bare_operations=seconds / bare_s())
    assert seconds / bare_s() <= BARE_OPERATIONS


def test_a_layout_in_a_search_costs_at_most_a_fiftieth_of_one_alone(benchmark: Any) -> None:
    """175B on 1,024 GPUs, against the same layouts one at a time in the same run."""
    found = benchmark(priced_lanes, GPT3, 1024, 1536)
    layouts = [found.lanes.layout(lane) for lane in range(0, len(found.lanes), 100)]

    def singly() -> None:
        for layout in layouts:
            float(GPT3.ledger(layout).step_time_s)
            float(GPT3.memory_bytes(layout))

    one_s = least_s(singly) / len(layouts)
    speedup = one_s / (benchmark.stats.stats.min / len(found.lanes))
    benchmark.extra_info.update(num_layouts=len(found.lanes), search_s=benchmark.stats.stats.min, speedup=speedup)
    assert speedup >= 50


def test_one_estimate_in_process_costs_at_most_ten_thousand_multiplications(benchmark: Any) -> None:
    """Recorded as `estimate_s`; the aim is 0.35 ms, asserted as a ratio to a loop that only multiplies."""
    layout = priced_lanes(GPT3, 1024, 1536).best(1)[0]
    benchmark(GPT3.predict, layout)

    def loop() -> None:
        total = 1.0
        for value in range(10_000):
            total += value * 1.5

    ratio = benchmark.stats.stats.min / (least_s(loop) / 10_000)
    benchmark.extra_info.update(estimate_s=benchmark.stats.stats.min, bare_multiplies=ratio)
    assert ratio <= 10_000
