"""What a step is seen to do as it runs: seconds by class of operator, by torch's profiler, and how many operators it dispatches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backend.device import Device
from estimators.profile.operator_groups import group_of


def seconds_by_group(step: Callable[[], object], device: Device, num_steps: int = 3) -> dict[str, float]:
    """Seconds of one step in each group of estimators.profile.operator_times.OperatorCall; views, allocations and the like under `view`.

    Self time of the operators: the kernels' on CUDA, else the host's. What lies between operators is in none of them,
    and the profiler's own cost is in all.
    """
    on_cuda = device.kind == "cuda"
    step()
    device.synchronize()
    with _quietly(), profile(activities=[ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU]) as seen:
        for _ in range(num_steps):
            step()
        device.synchronize()
    totals: dict[str, float] = {}
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        if event.key.startswith("aten::") or on_cuda:
            device_time = event.self_device_time_total if on_cuda else event.self_cpu_time_total
            totals[group_of(name)] = totals.get(group_of(name), 0.0) + device_time * MICRO / num_steps
    return totals


@contextmanager
def _quietly() -> Iterator[None]:
    """The profiler's library told to write nothing on stderr, between our lines; it reads the level at its first use in a process."""
    told = LOG_LEVEL in os.environ
    os.environ.setdefault(LOG_LEVEL, NOTHING)
    try:
        yield
    finally:
        if not told:
            del os.environ[LOG_LEVEL]


class _Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += int(func.namespace != "prim")
        return func(*args, **(kwargs or {}))


def num_operators(step: Callable[[], object]) -> int:
    """Operators that a step dispatches as it runs, views included: what `bench.backend.operators.trace` sees of it on fake tensors."""
    with _Operators() as operators:
        step()
    return int(operators.seen)


LOG_LEVEL, NOTHING = "KINETO_LOG_LEVEL", "6"
"""Above USDT, the highest severity of libkineto's ILoggerObserver.h."""

MICRO = 1e-6
"""The profiler's unit in seconds."""
