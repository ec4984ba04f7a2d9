"""Collectives between processes of one machine, by size: one process per GPU over NCCL, or several on a CPU over gloo."""

from __future__ import annotations

import datetime
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bench.backend.device import Device, choose
from bench.backend.random_data import drawn
from estimators.errors import UnavailableError
from estimators.units import KIBI, MEBI

SIZES = {"quick": (4 * KIBI, 16 * MEBI), "whole": (4 * KIBI, 256 * KIBI, 4 * MEBI, 64 * MEBI)}
"""Bytes that the whole operation is about, on each process: what an all-reduce sums, what an all-gather leaves."""

SAMPLES = {"quick": 10, "whole": 30}
LEAST_SAMPLE_S = 2e-3
"""Shorter operations are repeated within one sample, so that how unevenly ranks leave a barrier does not show."""

_RENAMED = (("all_gather", "all_gather_into_tensor"), ("reduce_scatter", "reduce_scatter_tensor"))
"""Operations that a later torch calls `_single`, with their names before."""

_TIMEOUT = datetime.timedelta(minutes=2)
_RESULT = "collectives.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective:
    """One operation at one size; `samples_s` is of the slowest process."""

    kind: str
    num_bytes: int
    processes: int
    over: str
    samples_s: tuple[float, ...]

    @property
    def bus_bytes(self) -> int:
        """Bytes that each process sends at the least: (n - 1)/n of the size, twice for an all-reduce.

        Source: NVIDIA nccl-tests, doc/PERFORMANCE.md, "bus bandwidth".
        """
        return (2 if self.kind == "all-reduce" else 1) * self.num_bytes * (self.processes - 1) // self.processes


def collectives(device: Device, processes: int, size: str) -> list[Collective]:
    """Time all-reduce, all-gather, reduce-scatter and all-to-all between fresh processes.

    Args:
        processes: two at least; on CUDA one for each of the first devices.
        size: quick or whole.

    Raises:
        UnavailableError: no backend, fewer devices than processes, or a process that failed; one line.
    """
    backend = {"cpu": "gloo", "cuda": "nccl"}.get(device.kind)
    if backend is None or not (dist.is_available() and dist.is_backend_available(backend)):
        raise UnavailableError(f"this torch has no {backend or 'backend of collectives'} for {device.kind}")
    if device.kind == "cuda" and torch.cuda.device_count() < processes:
        raise UnavailableError(f"{processes} processes need {processes} GPUs; {torch.cuda.device_count()} visible")
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.multiprocessing.spawn(_rank, (processes, device.kind, backend, size, folder), nprocs=processes)
        except (torch.multiprocessing.ProcessRaisedException, torch.multiprocessing.ProcessExitedException) as error:
            last_line = str(error).strip().splitlines()[-1][:160]
            raise UnavailableError(f"collectives between {processes} processes failed: {last_line}") from None
        results = json.loads((Path(folder) / _RESULT).read_text())
    return [Collective(**{**measured, "samples_s": tuple(measured["samples_s"])}) for measured in results]


def _rank(rank: int, processes: int, kind: str, backend: str, size: str, folder: str) -> None:
    """One process: the operations in the same order as all others; the first writes down what the slowest took."""
    device = choose("cpu" if kind == "cpu" else f"{kind}:{rank}")
    if kind == "cuda":
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    dist.init_process_group(backend, init_method=f"file://{folder}/meeting", rank=rank, world_size=processes, timeout=_TIMEOUT)
    try:
        results: list[dict[str, Any]] = []
        for num_bytes in SIZES[size]:
            for name, step in _operations(num_bytes, processes, device).items():
                samples_s = _slowest(_samples(step, SAMPLES[size], device), device)
                results.append({"kind": name, "num_bytes": num_bytes, "processes": processes, "over": backend, "samples_s": samples_s})
        if rank == 0:
            (Path(folder) / _RESULT).write_text(json.dumps(results))
    finally:
        dist.destroy_process_group()


def _operations(num_bytes: int, processes: int, device: Device) -> dict[str, Callable[[], object]]:
    """By name, one call each, in fp32; each process holds the whole and its part of it.

    An all-reduce takes the largest of each element: a sum in place, repeated, soon adds infinities.
    """
    all_gather, reduce_scatter = (getattr(dist, f"{name}_single", None) or getattr(dist, old) for name, old in _RENAMED)
    each = num_bytes // 4 // processes
    whole = drawn(each * processes, dtype=torch.float32, device=device.torch_device)
    part, other = whole[:each].clone(), torch.empty_like(whole)
    return {
        "all-reduce": lambda: dist.all_reduce(whole, op=dist.ReduceOp.MAX),
        "all-gather": lambda: all_gather(other, part),
        "reduce-scatter": lambda: reduce_scatter(part, whole),
        "all-to-all": lambda: dist.all_to_all_single(other, whole),
    }


def _samples(step: Callable[[], object], num_samples: int, device: Device) -> list[float]:
    """Seconds per call; all processes agree on the number of calls, which the first of them decides."""
    clock = device.clock()
    step()
    dist.barrier()
    calls = torch.tensor([max(1, math.ceil(LEAST_SAMPLE_S / max(1e-7, clock.time(step))))], device=device.torch_device)
    dist.broadcast(calls, src=0)
    repeats = int(calls.item())

    def several() -> None:
        for _ in range(repeats):
            step()

    samples_s = []
    for _ in range(num_samples):
        dist.barrier()
        samples_s.append(clock.time(several) / repeats)
    return samples_s


def _slowest(samples_s: list[float], device: Device) -> list[float]:
    """Sample by sample, what the slowest process took."""
    kind = torch.float32 if device.kind == "mps" else torch.float64
    slowest = torch.tensor(samples_s, dtype=kind, device=device.torch_device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return [float(seconds) for seconds in slowest.tolist()]
