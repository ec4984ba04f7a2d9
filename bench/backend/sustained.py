"""Rates of a whole device: products in a burst and sustained, memory read, written and copied, the link to the host, a launch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from bench.backend.ceilings import working_set_bytes
from bench.backend.device import Device, dtype
from bench.backend.random_data import drawn
from bench.records.record import Ceiling
from bench.statistics.robust import median
from estimators.units import MEBI

SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
REST_S, BURST_S = 1.0, 0.3
_LAUNCHES = 200


def matmul_rates(device: Device, dtype_name: str, time_s: float) -> tuple[Ceiling, Ceiling]:
    """Rates of one square product: in the first moments after a rest, and in the second half of `time_s` without a pause.

    A device whose clock falls under load has a burst above what it sustains; a step is compared with the sustained rate.

    Raises:
        RuntimeError: the device cannot multiply in this dtype.
    """
    side = SIDE[device.kind]
    x, weight = (drawn(side, side, dtype=dtype(dtype_name), device=device.torch_device) for _ in range(2))
    clock = device.clock()
    samples: list[tuple[float, float]] = []
    with torch.inference_mode():
        torch.nn.functional.linear(x, weight)
        device.synchronize()
        time.sleep(REST_S)
        start_s = clock.now()
        while len(samples) < 4 or clock.now() - start_s < time_s:
            taken_s = clock.time(lambda: torch.nn.functional.linear(x, weight))
            samples.append((clock.now() - start_s, taken_s))
    at_first = tuple(s for at, s in samples if at <= BURST_S) or (samples[0][1],)
    at_last = tuple(s for at, s in samples if at > samples[-1][0] / 2)
    shape, work = f"x[{side}, {side}] · W[{side}, {side}]ᵀ", 2 * side**3

    def made(kind: str, samples_s: tuple[float, ...]) -> Ceiling:
        return Ceiling(kind=kind, value=work / median(samples_s), dtype=dtype_name, shape=shape, samples_s=samples_s, work=work)

    return made("matmul burst", at_first), made("matmul sustained", at_last)


def memory_rates(device: Device, time_s: float) -> Iterator[Ceiling]:
    """Bytes per second over arrays far beyond the caches: read (sum), write (fill), copy (both); and host to device where there is one."""
    num_bytes = working_set_bytes(device)
    a, b = (drawn(num_bytes // 4, dtype=torch.float32, device=device.torch_device) for _ in range(2))
    yield _rate(device, "read", num_bytes, time_s, b.sum)
    yield _rate(device, "write", num_bytes, time_s, lambda: a.fill_(1.5))
    yield _rate(device, "copy", 2 * num_bytes, time_s, lambda: a.copy_(b))
    if device.kind == "cuda":
        host = torch.empty(num_bytes // 4, pin_memory=True)
        yield _rate(device, "host to device", num_bytes, time_s, lambda: a.copy_(host, non_blocking=True))


def _rate(device: Device, kind: str, work: int, time_s: float, step: Callable[[], object]) -> Ceiling:
    clock = device.clock()
    step()
    samples: list[float] = []
    end_s = clock.now() + time_s
    while len(samples) < 5 or clock.now() < end_s:
        samples.append(clock.time(step))
    shape = f"{work // MEBI} MiB moved"
    return Ceiling(kind=kind, value=work / median(samples), dtype="fp32", shape=shape, samples_s=tuple(samples), work=work)


def launch_s(device: Device) -> float:
    """Seconds of the smallest operator, one after another: what eager dispatch costs."""
    x = torch.ones(1, device=device.torch_device)
    clock = device.clock()

    def several() -> None:
        for _ in range(_LAUNCHES):
            torch.add(x, x)

    with torch.inference_mode():
        several()
        return median([clock.time(several) for _ in range(20)]) / _LAUNCHES
