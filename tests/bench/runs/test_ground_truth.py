"""Known truths, judged rightly: a sleep, a tensor of known size, a loop that slows, a training that does not train."""

import time
from collections.abc import Callable

import pytest
import torch

from bench.backend.device import choose
from bench.records.record import Measurement
from bench.sampling.clock import HostClock
from bench.sampling.timing_loop import sample
from bench.statistics import robust
from reports.checks.crosscheck import crosscheck, failed
from tests.support.scripted_clock import ScriptedClock

SLEEP_S = 0.02


def test_a_sleep_is_never_measured_shorter_than_it_is() -> None:
    found = sample(lambda: time.sleep(SLEEP_S), clock=HostClock(), warmup_max=0, max_samples=3, target_fraction=None)
    assert min(found.steady_s) >= SLEEP_S  # the monotonic clock; how much longer is the scheduler's affair


def test_a_tensor_of_known_size_shows_in_the_peak() -> None:
    device = choose("cpu")
    num_bytes = 256 * 2**20
    if not device.reset_peak():
        pytest.skip("this kernel does not let the peak be reset")
    before = device.peak_memory().values["peak_rss"]
    held = torch.ones(num_bytes // 4)
    after = device.peak_memory().values["peak_rss"]
    assert before is not None
    assert after is not None
    # pages may be handed back meanwhile, or other threads touch a few: a tenth either way
    assert after - before == pytest.approx(num_bytes, rel=0.1)
    assert held.numel() * 4 == num_bytes


def slowing(per_step: float) -> ScriptedClock:
    return ScriptedClock([0.1 * (1 + per_step * i) for i in range(200)])


def test_a_loop_that_slows_down_is_said_never_to_settle_and_a_steady_one_is_not() -> None:
    throttled, steady = slowing(0.05), slowing(0.0)
    codes = []
    for clock in (throttled, steady):
        found = sample(clock.step, clock=clock, max_samples=40, max_time_s=1e6, target_fraction=None)
        codes.append({finding.code for finding in found.findings("step")})
    assert "NeverSettled" in codes[0]
    assert codes[1] == set()


def test_a_training_that_does_not_train_fails_and_one_that_does_passes(measured: Callable[..., Measurement]) -> None:
    sizes = {"batch": 1, "seq_len": 8, "steps": 4, "dtype": "fp32", "device": "cpu"}
    idle = measured("llama", "train", learning_rate=1e-30, **sizes)
    busy = measured("llama", "train", learning_rate=1e-2, **sizes)
    assert "parameters changed" in {check.metric for check in failed(crosscheck(idle))}
    assert "parameters changed" not in {check.metric for check in failed(crosscheck(busy))}
    assert robust.median(busy.phases[-1].samples_s) > 0
