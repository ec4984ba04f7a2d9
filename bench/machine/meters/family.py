"""The most memory that this process and its children held together, sampled a few times a second.

A sum of resident sets counts pages that two processes share twice: it is a figure of its own, beside the peak of this
process alone, which the kernel keeps exactly. Source: man pages proc_pid_statm(5), proc_tid_children(5).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from bench.machine.meters.readings import Readings, no_readings

PROC = Path("/proc")
FIGURE = "peak_rss_with_children"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def family_rss_bytes(pid: int, proc: Path = PROC) -> int:
    """Resident bytes of a process and of all below it, now.

    Raises:
        OSError: the system has no such files, or the process is gone.
    """
    total = int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    for thread in (proc / str(pid) / "task").iterdir():
        for child in (thread / "children").read_text(encoding="ascii").split():
            try:
                total += family_rss_bytes(int(child), proc)
            except OSError:
                continue  # it ended between the two reads
    return total


class FamilyMemory:
    """Samples on a thread of its own between entering and leaving a `with` block; `readings` has the peak afterwards."""

    def __init__(self, proc: Path = PROC, interval_s: float = 0.5) -> None:
        self._proc, self._interval_s = proc, interval_s
        self._peak_bytes: int | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="family-memory", daemon=True)

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
        try:
            now_bytes = family_rss_bytes(os.getpid(), self._proc)
        except (OSError, ValueError, IndexError):
            return
        self._peak_bytes = max(self._peak_bytes or 0, now_bytes)

    def readings(self) -> Readings:
        """The largest sum of a sample."""
        if self._peak_bytes is None:
            return no_readings((FIGURE,), "this system does not list a process's children")
        return Readings(values={FIGURE: self._peak_bytes})

    def _keep_looking(self) -> None:
        while not self._done.wait(self._interval_s):
            self.sample()
