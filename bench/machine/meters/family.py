"""The most memory that this process and its children held together, sampled a few times a second.

A sum of resident sets counts pages that two processes share twice: it is a figure of its own, beside the peak of this
process alone, which the kernel keeps exactly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import psutil

from bench.machine.meters.readings import Readings, no_readings

FIGURE = "peak_rss_with_children"

SEARCH_FRACTION = 0.01
"""Share of the time that may go into finding children: the system is asked for every process there is, 40 us each."""


class FamilyMemory:
    """Samples on a thread of its own between entering and leaving a `with` block; `readings` has the peak afterwards.

    Args:
        process: the eldest; None takes this one.
        interval_s: between two samples of the processes that are known. A child is found at the next search for children.
        now: monotonic time in seconds.
    """

    def __init__(
        self, process: psutil.Process | None = None, interval_s: float = 0.5, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._eldest, self._interval_s, self._now = process or psutil.Process(), interval_s, now
        self._members: Sequence[psutil.Process] = ()
        self._search_at_s = -float("inf")
        self._peak_bytes: int | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_sampling, name="family-memory", daemon=True)

    def __enter__(self) -> FamilyMemory:
        self.sample()
        if self._peak_bytes is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
            self.sample()

    def sample(self) -> None:
        """Take one sample; a system that cannot tell leaves no figure."""
        start_s = self._now()
        if start_s >= self._search_at_s:
            try:
                self._members = (self._eldest, *self._eldest.children(recursive=True))
            except psutil.Error:
                return
            self._search_at_s = start_s + (self._now() - start_s) / SEARCH_FRACTION
        self._peak_bytes = max(self._peak_bytes or 0, sum(map(_rss_bytes, self._members)))

    def readings(self) -> Readings:
        """The largest sum of a sample."""
        if self._peak_bytes is None:
            return no_readings((FIGURE,), "this system does not list a process's children")
        return Readings(values={FIGURE: self._peak_bytes})

    def _keep_sampling(self) -> None:
        while not self._done.wait(self._interval_s):
            self.sample()


def _rss_bytes(process: psutil.Process) -> int:
    """Resident bytes of one process now; 0 where it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
