"""The clock of a CUDA device: events in its queue."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bench.sampling.clock import empty_reading_s
from estimators.units import KILO


class EventClock:
    """Times a step by two events in the queue of one CUDA device's current stream.

    The queue is empty before the first event, so the time includes the launch of the first kernel, as a lone
    step's does. Work that a step starts on other streams and does not join is not seen.
    """

    name = "device-event"

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.resolution_s = empty_reading_s(self)

    def now(self) -> float:
        return time.perf_counter()

    def time(self, step: Callable[[], object]) -> float:
        with torch.cuda.device(self._device):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            step()
            end.record()
            torch.cuda.synchronize()
            return float(start.elapsed_time(end)) / KILO
