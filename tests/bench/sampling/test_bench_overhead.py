"""What the instruments cost a step of 10 ms: with them and without, by turns in one run. Skipped unless --benchmark-only is given."""

import io
import time

from pytest_benchmark.fixture import BenchmarkFixture

from bench.machine.meters.power import PowerMeter
from bench.sampling.clock import HostClock
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import sample
from bench.statistics.robust import median
from tests.support.fake_nvml import FakeGpu, FakeNvml

STEP_S = 0.010
STEPS = 5
ROUNDS = 80


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(turns: int) -> int:
    total = 0
    for i in range(turns):
        total += i & 7
    return total


def turns_of_a_step() -> int:
    """A fixed amount of work of about STEP_S; a step that waited for a time would hide what is added to it."""

    def took_s() -> float:
        start_s = time.perf_counter()
        work(100_000)
        return time.perf_counter() - start_s

    return round(100_000 * STEP_S / min(took_s() for _ in range(20)))


def now_s() -> tuple[float, float]:
    """Wall time, and processor time of all threads."""
    return time.perf_counter(), time.process_time()


def test_instruments_add_less_than_one_percent_to_a_step_of_10_ms(benchmark: BenchmarkFixture) -> None:
    turns = turns_of_a_step()
    clock = HostClock()
    ratios: list[tuple[float, ...]] = []

    def step() -> None:
        work(turns)

    def bare_s() -> tuple[float, ...]:
        start = now_s()
        for _ in range(STEPS):
            step()
        return tuple(after - before for before, after in zip(start, now_s(), strict=True))

    def instrumented_s() -> tuple[float, ...]:
        """From the end of one sample to the end of another, STEPS later: clock, collection, progress line and power meter included."""
        ends = []
        library = FakeNvml(FakeGpu("GPU-1", energy_mj=list(range(1000))))
        with PowerMeter("GPU-1", library=library), sampling("step", max_samples=STEPS + 1, stream=Terminal()) as draw:
            assert draw is not None

            def on_sample(kind: str, seconds: float) -> None:
                draw(kind, seconds)
                ends.append(now_s())

            sample(step, clock=clock, warmup_max=0, max_samples=STEPS + 1, max_time_s=1e9, target_fraction=None, on_sample=on_sample)
        return tuple(after - before for before, after in zip(ends[0], ends[-1], strict=True))

    def one_round() -> None:
        """Off, on, on, off: a machine that gets slower or faster meanwhile does so for both."""
        times_s = (bare_s(), instrumented_s(), instrumented_s(), bare_s())
        ratios.append(tuple((on + on_again) / (off + off_again) for off, on, on_again, off_again in zip(*times_s, strict=True)))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    wall, processor = (median(ratio) for ratio in zip(*ratios, strict=True))
    benchmark.extra_info.update(wall_with_over_without=wall, processor_with_over_without=processor)
    print(f"with instruments over without: {wall:.4f} of wall time, {processor:.4f} of processor time")
    # other programs of a busy machine make the wall time's ratio stray by several percent, either way
    assert processor < 1.01
