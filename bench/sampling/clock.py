"""The clock: what times one call of a step. CUDA's is in bench.backend.device, the tests' is scripted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from bench.statistics import robust

Step = Callable[[], object]


class Clock(Protocol):
    """What times a step.

    Attributes:
        name: host or device-event, as stored in a record.
        resolution_s: what the clock reads for an empty step.
    """

    @property
    def name(self) -> str: ...

    @property
    def resolution_s(self) -> float: ...

    def now(self) -> float:
        """Monotonic time in seconds, for budgets."""
        ...

    def time(self, step: Step) -> float:
        """Seconds that one call of `step` took, all the work it started included."""
        ...


def nothing() -> None:
    """The empty step, and the synchronisation of a device that has no queue."""


class HostClock:
    """The monotonic clock of the host; `synchronize` waits for a device's queue before and after the step."""

    name = "host"

    def __init__(self, synchronize: Callable[[], object] = nothing) -> None:
        self._synchronize = synchronize
        self.resolution_s = empty_reading_s(self)

    def now(self) -> float:
        return time.perf_counter()

    def time(self, step: Step) -> float:
        self._synchronize()
        start = time.perf_counter()
        step()
        self._synchronize()
        return time.perf_counter() - start


class ProcessorClock:
    """The processor time of this thread: what a step takes where nobody else has the processor, however busy the machine is.

    For steps that run on this thread alone.
    """

    name = "processor"

    def __init__(self) -> None:
        self.resolution_s = empty_reading_s(self)

    def now(self) -> float:
        return time.perf_counter()

    def time(self, step: Step) -> float:
        start = time.thread_time()
        step()
        return time.thread_time() - start


def empty_reading_s(clock: Clock, readings: int = 20) -> float:
    """What `clock` reads for an empty step, the median of a few: the floor under every sample it takes."""
    return robust.median([clock.time(nothing) for _ in range(readings)])
