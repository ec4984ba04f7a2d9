"""What measuring costs: the same work with all instruments and without any, interleaved, on the device at hand."""

from __future__ import annotations

import functools
import gc
import time

import torch

from bench.backend.device import Device
from bench.backend.random_data import drawn
from bench.machine.meters.instruments import Instruments
from bench.records.environment import ObserverCost
from bench.records.record import Finding
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import sample
from bench.statistics import robust

STEP_S = 0.010
"""The step that the cost is a share of; a longer step pays the smaller share."""

STEPS = 5
WIDTH = 512
LARGEST_FRACTION = 0.01
"""Of a step of STEP_S: above it a reader is warned."""


@functools.cache
def observer_cost(device: Device, rounds: int) -> ObserverCost:
    """Ratios of time with the instruments over time without, one a round; once per process.

    A round is off, on, on, off, so that a machine that gets slower or faster meanwhile does so for both. The work is a
    fixed number of matrix products of about STEP_S. On: clock, garbage collection, progress line, meters and their threads, as
    in a run, from the end of one sample to the end of another. Off: the bare loop, and one wait for the device at its end.
    """
    step = _step(device)
    gc.freeze()  # each sampling collects garbage first: of what was there before, torch's modules, that would take longer than the rounds
    try:
        turns = [_round(step, device) for _ in range(rounds + 1)][1:]
    finally:
        gc.unfreeze()
    return ObserverCost(
        step_s=STEP_S, wall_ratios=tuple(wall for wall, _ in turns), processor_ratios=tuple(processor for _, processor in turns)
    )


def finding(cost: ObserverCost) -> Finding | None:
    """A warning where the instruments took more than LARGEST_FRACTION, beyond what the rounds scatter by."""
    interval = robust.median_interval(cost.wall_ratios)
    if interval is None or interval[0] <= 1 + LARGEST_FRACTION:
        return None
    text = f"the instruments took {100 * (interval[0] - 1):.1f} % or more of a step of {1000 * cost.step_s:.0f} ms"
    return Finding(code="ObserverCostly", text=text, advice="time longer steps, or on a quieter machine")


def _step(device: Device) -> functools.partial[None]:
    x = drawn(WIDTH, WIDTH, dtype=torch.float32, device=device.torch_device)

    def products(number: int) -> None:
        for _ in range(number):
            torch.mm(x, x)

    def took_s(number: int) -> float:
        start_s = time.perf_counter()
        products(number)
        device.synchronize()
        return time.perf_counter() - start_s

    took_s(3)
    each_s = min(took_s(10) for _ in range(3)) / 10
    return functools.partial(products, max(1, round(STEP_S / each_s)))


def _now_s() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _took_s(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    return end[0] - start[0], end[1] - start[1]


def _round(step: functools.partial[None], device: Device) -> tuple[float, float]:
    off, on, on_again, off_again = _bare_s(step, device), _observed_s(step, device), _observed_s(step, device), _bare_s(step, device)
    return (on[0] + on_again[0]) / (off[0] + off_again[0]), (on[1] + on_again[1]) / (off[1] + off_again[1])


def _bare_s(step: functools.partial[None], device: Device) -> tuple[float, float]:
    step()
    device.synchronize()
    start = _now_s()
    for _ in range(STEPS):
        step()
    device.synchronize()
    return _took_s(start, _now_s())


def _observed_s(step: functools.partial[None], device: Device) -> tuple[float, float]:
    ends: list[tuple[float, float]] = []
    with Instruments(device.uuid, idle_s=0), sampling("the instruments' own cost", max_samples=STEPS + 1) as draw:

        def on_sample(kind: str, seconds: float) -> None:
            if draw is not None:
                draw(kind, seconds)
            ends.append(_now_s())

        sample(
            step,
            clock=device.clock(),
            warmup_max=0,
            max_samples=STEPS + 1,
            max_time_s=1e9,
            target_fraction=None,
            on_sample=on_sample,
        )
    return _took_s(ends[0], ends[-1])
