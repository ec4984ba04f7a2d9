"""What watching adds to a training step and to its loop unwatched, and the size of a batch. Skipped unless --benchmark-only is given."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from bench.callbacks import Watch
from bench.callbacks.batches import size_of
from bench.callbacks.token_counts import LabelUse
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


@pytest.mark.parametrize(("with_passes", "most_s"), [(False, 50e-6), (True, 150e-6)], ids=["empty step", "one pass"])
def test_what_watching_adds_to_the_same_loop_alone(with_passes: bool, most_s: float, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A loop unwatched, watched, watched and unwatched in each round, against a bare operation of the most that it may add.

    Half a percent of a step of 10 ms is 50 us. A pass of this network is almost nothing, so that what its hooks take is seen.
    """
    torch.set_num_threads(1)
    allowed, model = turns_of(most_s), nn.Linear(4, 2)
    batch, loss = torch.zeros(2, 4), torch.tensor(1.0)
    added: list[float] = []
    shares: list[float] = []
    times_s: list[tuple[float, float]] = []

    def body() -> torch.Tensor:
        if not with_passes:
            return loss
        ended = model(batch).sum()
        ended.backward()
        return ended  # type: ignore[no-any-return]

    with Watch(model, out=tmp_path, every=50, accumulate=1, ceilings=CEILINGS) as w:

        def watched() -> None:
            for _ in range(CALLS):
                with w.step(batch):
                    w.loss(body())

        def alone() -> None:
            for _ in range(CALLS):
                body()

        def one_round() -> None:
            took_s = []
            for what in (alone, watched, watched, alone, lambda: [work(allowed) for _ in range(CALLS)]):
                start_s = time.process_time()
                what()
                took_s.append(time.process_time() - start_s)
            off_s, on_s = took_s[0] + took_s[3], took_s[1] + took_s[2]
            added.append((on_s - off_s) / (2 * CALLS))
            shares.append((on_s - off_s) / (2 * took_s[4]))
            times_s.append((off_s / (2 * CALLS), on_s / (2 * CALLS)))

        watched()
        benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    alone_s, with_watch_s = (median([pair[place] for pair in times_s]) for place in (0, 1))
    ratio = with_watch_s / alone_s
    benchmark.extra_info.update(added_s_per_step=median(added), alone_s_per_step=alone_s, watched_over_alone=ratio)
    print(
        f"watching adds {1e6 * median(added):.1f} us to a step of {1e6 * alone_s:.1f} us ({ratio:.2f} times),"
        f" {100 * median(added) / 0.010:.2f} % of one of 10 ms; {median(shares):.2f} of the most that it may add"
    )
    assert median(shares) < 1


IDS = torch.zeros(8, 512, dtype=torch.long)
KINDS = {
    "text": {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": IDS},
    "columns": [torch.zeros(8, 16), torch.zeros(8)],
    "images": ([torch.zeros(3, 32, 32)] * 8, [{"boxes": torch.zeros(2, 4)}] * 8),
    "loaders": {"a": [torch.zeros(4, 8), torch.zeros(4)], "b": [torch.zeros(8, 8), torch.zeros(8)]},
}


@pytest.mark.parametrize(("kind", "most_s"), [("text", 25e-6), ("columns", 20e-6), ("images", 35e-6), ("loaders", 40e-6)])
def test_the_size_of_a_batch_takes_some_microseconds(kind: str, most_s: float, benchmark: BenchmarkFixture) -> None:
    """Against a bare operation that takes so long, in the same round; text is 4,096 positions with a mask and labels."""
    torch.set_num_threads(1)
    allowed, use, batch = turns_of(most_s), LabelUse(shifted=True), KINDS[kind]
    ratios: list[float] = []

    def one_round() -> None:
        start_s = time.process_time()
        for _ in range(CALLS):
            size_of(batch, use)
        size_s = time.process_time() - start_s
        for _ in range(CALLS):
            work(allowed)
        ratios.append(size_s / (time.process_time() - start_s - size_s))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    print(f"{kind}: {1e6 * most_s * median(ratios):.1f} us")
    assert median(ratios) < 1
