"""The sampling loop under a scripted clock: what it keeps, when it stops, what it says."""

import gc
import itertools
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.sampling import clock as clock_module
from bench.sampling.clock import HostClock
from bench.sampling.timing_loop import Samples, has_settled, sample
from tests.support.scripted_clock import ScriptedClock


def run(script: Iterable[float | type[BaseException]], *, resolution_s: float = 1e-9, **options: Any) -> tuple[Samples, ScriptedClock]:
    clock = ScriptedClock(script, resolution_s)
    options = {"warmup_max": 0, "max_time_s": 1e9, "target_fraction": None} | options
    return sample(clock.step, clock=clock, **options), clock


def codes(samples: Samples) -> list[str]:
    return [finding.code for finding in samples.findings("decode")]


def test_every_sample_is_kept_in_order_and_the_warm_up_apart() -> None:
    samples, _ = run([5.0, 4.0, 1.0, 9.0, 2.0, 3.0], warmup_max=2, max_samples=4)
    assert samples.warmup_s == (5.0, 4.0)
    assert samples.steady_s == (1.0, 9.0, 2.0, 3.0)
    assert (samples.stopped_by, samples.settled, samples.clock) == ("count", None, "scripted")


def test_the_warm_up_ends_when_two_windows_agree() -> None:
    # windows of three: (9 5 3)(2 2 2) medians 5 and 2; (5 3 2)(2 2 2) 3 and 2; (3 2 2)(2 2 2) 2 and 2: eight samples
    samples, _ = run([9.0, 5.0, 3.0, *itertools.repeat(2.0, 20)], warmup_max=20, max_samples=3)
    assert samples.warmup_s == (9.0, 5.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert samples.settled is True
    assert codes(samples) == []


def test_a_warm_up_that_never_settles_ends_at_its_cap_and_is_reported() -> None:
    samples, _ = run([2.0**-i for i in range(20)], warmup_max=10, max_samples=3)
    assert len(samples.warmup_s) == 10
    assert samples.settled is False
    assert "NeverSettled" in codes(samples)


@pytest.mark.parametrize("drift", [0.03, -0.03])
def test_a_steady_drift_is_not_taken_for_noise(drift: float) -> None:
    assert has_settled([1 + drift * i for i in range(6)], 3, 0.02) is False


def test_noise_around_one_level_is_settled() -> None:
    # medians 1.1 and 1.0 differ by more than 2 %, but by less than the later window's 1.4826 * 0.2
    assert has_settled([1.0, 1.2, 1.1, 1.0, 0.8, 1.2], 3, 0.02) is True


def test_sampling_stops_when_the_time_is_up_and_the_warm_up_takes_half_of_it_at_most() -> None:
    # one second each: warm-up samples start at 0, 1, 2 and not at 3 (half of 5 is over); steady ones at 3 and 4
    samples, _ = run(itertools.repeat(1.0), warmup_max=20, max_time_s=5.0)
    assert (len(samples.warmup_s), len(samples.steady_s), samples.stopped_by) == (3, 2, "time")


def test_one_steady_sample_is_taken_however_long_it_is() -> None:
    samples, _ = run(itertools.repeat(60.0), max_time_s=1.0)
    assert (samples.steady_s, samples.stopped_by) == ((60.0,), "time")


def test_sampling_stops_when_the_median_is_known_well_enough() -> None:
    # the fifth sample is the first to be looked at, but 95 % takes six; the next look is at ceil(1.25 * 5) = 7
    samples, _ = run(itertools.repeat(1.0), target_fraction=0.01, min_samples=5, max_samples=100)
    assert (len(samples.steady_s), samples.stopped_by) == (7, "target")


def test_sampling_goes_on_while_the_median_is_uncertain() -> None:
    samples, _ = run(itertools.cycle([1.0, 2.0]), target_fraction=0.01, max_samples=40)
    assert (len(samples.steady_s), samples.stopped_by) == (40, "count")
    assert codes(samples) == ["Unstable"]


def test_ctrl_c_returns_what_there_is() -> None:
    samples, _ = run([1.0, 2.0, KeyboardInterrupt], max_samples=10)
    assert (samples.steady_s, samples.stopped_by) == ((1.0, 2.0), "interrupt")


def test_ctrl_c_in_the_warm_up_returns_the_warm_up() -> None:
    samples, _ = run([1.0, KeyboardInterrupt], warmup_max=5)
    assert (samples.warmup_s, samples.steady_s, samples.stopped_by) == ((1.0,), (), "interrupt")
    assert codes(samples) == []


def test_an_interrupted_phase_is_recorded_and_then_stops_the_run(tmp_path: Path) -> None:
    samples, _ = run([1.0, KeyboardInterrupt])
    draft = Draft(model="phi-2", task="decode", request=Asked(model="phi-2", task="decode"), out=tmp_path)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        draft.add_phase(samples.to_phase("decode"))
    assert draft.save("partial", "interrupted").phases[0].samples_s == (1.0,)


def test_another_error_of_the_step_passes_through_and_the_samples_before_it_were_seen() -> None:
    seen = []
    with pytest.raises(MemoryError, match=r"^$"):
        run([3.0, 1.0, MemoryError], warmup_max=1, on_sample=lambda kind, seconds: seen.append((kind, seconds)))
    assert seen == [("warmup", 3.0), ("steady", 1.0)]
    assert gc.isenabled()


def test_short_steps_are_called_several_times_per_sample_where_that_is_allowed() -> None:
    # a thousand ticks of 1 us are 1 ms: steps of 10 us run a hundred times, and a sample is the time of one
    samples, clock = run(itertools.repeat(1e-5), resolution_s=1e-6, warmup_max=2, max_samples=3, max_calls_per_sample=1000)
    assert samples.calls_per_sample == 100
    assert samples.steady_s == pytest.approx((1e-5, 1e-5, 1e-5))
    assert clock.calls == 1 + 100 + 3 * 100
    assert codes(samples) == []


def test_short_steps_that_may_not_be_repeated_are_reported_as_below_the_clock() -> None:
    samples, clock = run(itertools.repeat(1e-5), resolution_s=1e-6, warmup_max=2, max_samples=3)
    assert (samples.calls_per_sample, clock.calls) == (1, 5)
    assert codes(samples) == ["ClockTooCoarse"]


def test_a_step_of_a_hundred_clock_readings_is_long_enough_to_stand_alone() -> None:
    assert codes(run(itertools.repeat(1.01e-4), resolution_s=1e-6, max_samples=2)[0]) == []
    assert codes(run(itertools.repeat(0.99e-4), resolution_s=1e-6, max_samples=2)[0]) == ["ClockTooCoarse"]


def test_a_step_that_the_clock_reads_as_nothing_is_called_as_often_as_is_allowed() -> None:
    samples, _ = run(itertools.repeat(0.0), resolution_s=1e-6, warmup_max=1, max_samples=2, max_calls_per_sample=50)
    assert samples.calls_per_sample == 50
    assert codes(samples) == ["ClockTooCoarse"]


def test_garbage_is_collected_between_samples_and_never_inside_one() -> None:
    class Node:
        """Garbage that only the collector finds: it holds itself."""

        def __init__(self) -> None:
            self.itself = self

    clock, alive, enabled = ScriptedClock(itertools.repeat(1.0)), [], []

    def step() -> None:
        clock.step()
        enabled.append(gc.isenabled())
        alive.append(weakref.ref(Node()))

    sample(step, clock=clock, warmup_max=0, max_samples=3, target_fraction=None, max_time_s=1e9)
    assert enabled == [False, False, False]
    assert [ref() for ref in alive] == [None, None, None]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        run([1.0, 1.0], max_samples=2)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_phase_says_everything_that_the_loop_knows() -> None:
    samples, _ = run([4.0, 1.0, 1.0], warmup_max=1, max_samples=2)
    phase = samples.to_phase("decode", items_per_sample=5, item="token", context_lens=[7, 8])
    assert (phase.name, phase.samples_s, phase.warmup_s) == ("decode", (1.0, 1.0), (4.0,))
    assert (phase.items_per_sample, phase.item, phase.context_lens) == (5, "token", (7, 8))
    assert (phase.clock, phase.stopped_by, phase.settled, phase.calls_per_sample) == ("scripted", "count", None, 1)


def test_the_host_clock_waits_for_the_device_before_and_after_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    clock = HostClock(synchronize=lambda: happened.append("wait"))
    happened.clear()
    readings = iter([10.0, 12.5])
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: happened.append("read") or next(readings))
    assert clock.time(lambda: happened.append("step")) == 2.5
    assert happened == ["wait", "read", "step", "wait", "read"]


def test_the_resolution_of_the_host_clock_is_what_it_reads_for_an_empty_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0.0, 0.25)
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: next(ticks))
    assert HostClock().resolution_s == 0.25


def test_the_steady_window_opens_after_the_warm_up_and_closes_after_the_last_sample_or_an_interrupt() -> None:
    for script, stopped_by in (([1.0] * 5, "count"), ([1.0, 1.0, 1.0, KeyboardInterrupt], "interrupt")):
        clock, seen = ScriptedClock(script), []

        @contextmanager
        def window(clock: ScriptedClock = clock, seen: list[int] = seen) -> Iterator[None]:
            seen.append(clock.calls)
            yield
            seen.append(clock.calls)

        samples = sample(
            clock.step, clock=clock, warmup_max=2, settle_window=3, max_samples=3, max_time_s=1e9, target_fraction=None, steady=window()
        )
        assert samples.stopped_by == stopped_by
        assert seen == [2, len(script)]


def test_a_window_is_never_opened_where_the_warm_up_was_interrupted() -> None:
    clock, opened = ScriptedClock([1.0, KeyboardInterrupt]), []

    @contextmanager
    def window() -> Iterator[None]:
        opened.append(True)
        yield

    assert sample(clock.step, clock=clock, warmup_max=5, steady=window()).steady_s == ()
    assert opened == []
