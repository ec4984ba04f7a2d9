"""What watching costs a training step of 100 ms: off and on by turns in one run. Skipped unless --benchmark-only is given."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.callbacks import Watch
from bench.statistics.robust import median
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import batches, tiny_model

STEP_S = 0.100
CALLS = 50
ROUNDS = 40


def work(turns: int) -> int:
    total = 0
    for i in range(turns):
        total += i & 7
    return total


def turns_of(seconds: float) -> int:
    """Turns of `work` that take so long."""

    def took_s() -> float:
        start_s = time.perf_counter()
        work(100_000)
        return time.perf_counter() - start_s

    return round(100_000 * seconds / min(took_s() for _ in range(20)))


def test_watching_adds_less_than_half_a_percent_to_a_step_of_100_ms(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Many empty steps under watch against a bare operation of 0.5 % of 100 ms, in the same round; other programs slow down both alike.

    Everything that a step gives is in it: size and padding of a real batch, marks, loss, log, the line on stderr every 50 steps.
    """
    torch.set_num_threads(1)
    allowed = turns_of(0.005 * STEP_S)
    (batch,) = batches(1, rows=8, length=512, padding=7)
    loss = torch.tensor(1.0)
    ratios: list[float] = []
    costs_s: list[float] = []
    with Watch(tiny_model(), out=tmp_path, every=50, ceilings=CEILINGS) as w:

        def watched() -> None:
            for _ in range(CALLS):
                with w.step(batch):
                    w.loss(loss)

        def bare() -> None:
            for _ in range(CALLS):
                work(allowed)

        def took_s(what: object) -> float:
            start_s = time.process_time()
            what()  # type: ignore[operator]
            return time.process_time() - start_s

        watched()

        def one_round() -> None:
            """Off, on, on, off: a machine that gets slower or faster meanwhile does so for both."""
            off_s, on_s, on_again_s, off_again_s = (took_s(what) for what in (bare, watched, watched, bare))
            ratios.append((on_s + on_again_s) / (off_s + off_again_s))
            costs_s.append((on_s + on_again_s) / (2 * CALLS))

        benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    share, cost_s = median(ratios), median(costs_s)
    benchmark.extra_info.update(cost_over_allowed=share, cost_s_per_step=cost_s)
    print(f"watching costs {1e6 * cost_s:.0f} us a step, {share:.3f} of what half a percent of 100 ms allows")
    assert share < 1
