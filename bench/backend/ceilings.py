"""Rates that this machine reaches just before a run: what measured steps are held against.

A CPU has no datasheet peak, and a GPU seldom reaches its own. A ceiling is the median rate of the best of several
shapes: a step that beats it shows that the ceiling was taken too low (by a busy machine, say). It is then taken again,
by its fastest sample: what the machine does while no other program is on it, as it may have been in the middle step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch

from bench.backend.device import Device, dtype
from bench.backend.random_data import drawn
from bench.records.record import Ceiling
from bench.statistics import robust
from estimators.errors import UnavailableError
from estimators.units import GIBI, MEBI

_SQUARE = {"cpu": (512, 1024, 2048, 4096), "cuda": (2048, 4096, 8192, 16384), "mps": (1024, 2048, 4096)}
_LAYER = {"cpu": ((512, 10240, 2560), (512, 2560, 10240)), "cuda": ((8192, 10240, 2560), (8192, 28672, 8192)), "mps": ((2048, 4096, 1024),)}
"""(m, n, k) of linear layers of language models: m tokens through n x k weights."""

BRIEF_S = 1.0

_COLUMNS = 2**13
_FINALISTS, _LEAST_SAMPLES, _MOST_SAMPLES = 2, 5, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One thing to run: its FLOP or bytes, the step, and the times it took."""

    shape: str
    work: int
    step: Callable[[], object]
    samples_s: list[float] = field(default_factory=list)

    def rate(self, of: Callable[[list[float]], float]) -> float:
        return self.work / of(self.samples_s)


def matmul_ceiling(device: Device, dtype_name: str, max_time_s: float = 3.0, *, fastest: bool = False) -> Ceiling:
    """The highest sustained rate of x[m, k] · W[n, k]ᵀ over square and layer-like shapes, 2 m n k FLOP each.

    Args:
        fastest: by the fastest sample, not by the median.

    Raises:
        UnavailableError: the device cannot multiply in this dtype.
    """
    shapes = sorted([(s, s, s) for s in _SQUARE[device.kind]] + list(_LAYER[device.kind]), key=lambda mnk: mnk[0] * mnk[1] * mnk[2])
    return _best("matmul", dtype_name, device, _matmuls(shapes, device, dtype_name), max_time_s, fastest=fastest)


def bandwidth_ceiling(device: Device, max_time_s: float = 3.0, *, fastest: bool = False) -> Ceiling:
    """The highest sustained rate of bytes over a working set far beyond the caches, in fp32.

    Read only (sum, dot product, matrix-vector product as weights are streamed in decoding), copy (read and write),
    and a = b + 3 c (two reads and a write, McCalpin's STREAM triad). Bytes are those the arrays hold: what a cache
    fetches before it overwrites is not counted.

    Args:
        fastest: by the fastest sample, not by the median.
    """
    num_bytes = working_set_bytes(device)
    return _best("bandwidth", "fp32", device, _streams(num_bytes, device), max_time_s, fastest=fastest)


@functools.cache
def brief_ceilings(device: Device, dtype_name: str) -> tuple[Ceiling, Ceiling]:
    """Both, in a second each and once per process: for steps so short that they are a thousandth of either, whatever its last digits.

    Raises:
        UnavailableError: see matmul_ceiling.
    """
    return matmul_ceiling(device, dtype_name, BRIEF_S), bandwidth_ceiling(device, BRIEF_S)


def working_set_bytes(device: Device) -> int:
    """Bytes of one array: four times the caches and 256 MiB at least (1 GiB on a GPU), an eighth of what is free at most."""
    wanted = GIBI if device.kind == "cuda" else max(256 * MEBI, 4 * device.cache_bytes())
    return min(wanted, device.memory_available_bytes() // 8) // (4 * _COLUMNS) * (4 * _COLUMNS)


def _matmuls(shapes: Iterable[tuple[int, int, int]], device: Device, dtype_name: str) -> Iterator[_Trial]:
    kind, place = dtype(dtype_name), device.torch_device
    for m, n, k in shapes:
        x, weight = (drawn(rows, k, dtype=kind, device=place) for rows in (m, n))
        step = functools.partial(torch.nn.functional.linear, x, weight)
        yield _Trial(shape=f"x[{m}, {k}] · W[{n}, {k}]ᵀ", work=2 * m * n * k, step=step)


def _streams(num_bytes: int, device: Device) -> Iterator[_Trial]:
    place = device.torch_device
    a, b, c = (drawn(num_bytes // 4, dtype=torch.float32, device=place) for _ in range(3))
    matrix, vector = b.view(-1, _COLUMNS), drawn(_COLUMNS, dtype=torch.float32, device=place)
    of = f"{num_bytes // MEBI} MiB arrays"
    yield _Trial(shape=f"sum, {of}", work=num_bytes, step=b.sum)
    yield _Trial(shape=f"matrix-vector product, {of}", work=num_bytes, step=lambda: matrix @ vector)
    yield _Trial(shape=f"dot product, {of}", work=2 * num_bytes, step=lambda: torch.dot(b, c))
    yield _Trial(shape=f"copy, {of}", work=2 * num_bytes, step=lambda: a.copy_(b))
    yield _Trial(shape=f"triad, {of}", work=3 * num_bytes, step=lambda: torch.add(b, c, alpha=3.0, out=a))


def _best(kind: str, dtype_name: str, device: Device, candidates: Iterable[_Trial], max_time_s: float, *, fastest: bool = False) -> Ceiling:
    """Each candidate runs three times, the first untimed; the best two then take turns until the time is up.

    A candidate that would take more than half of the time left, at the best rate so far, is not tried.
    """
    clock, of = device.clock(), min if fastest else robust.median
    end_s = clock.now() + max_time_s
    trials: list[_Trial] = []
    with torch.inference_mode():
        for trial in candidates:
            best_rate = max((t.rate(of) for t in trials), default=math.inf)
            if trials and 3 * trial.work / best_rate > (end_s - clock.now()) / 2:
                continue
            try:
                trial.step()
            except RuntimeError as error:
                if trials:
                    continue
                why = f"{str(error).splitlines()[0][:100]}; name another with --dtype"
                raise UnavailableError(f"{device.name} cannot do {kind} in {dtype_name}: {why}") from None
            trial.samples_s.extend(clock.time(trial.step) for _ in range(2))
            trials.append(trial)
        finalists = sorted(trials, key=lambda t: t.rate(of), reverse=True)[:_FINALISTS]
        while len(finalists[0].samples_s) < (_MOST_SAMPLES if clock.now() < end_s else _LEAST_SAMPLES):
            for trial in finalists:
                trial.samples_s.append(clock.time(trial.step))
    best = max(finalists, key=lambda t: t.rate(of))
    return Ceiling(kind=kind, value=best.rate(of), dtype=dtype_name, shape=best.shape, samples_s=tuple(best.samples_s), work=best.work)
