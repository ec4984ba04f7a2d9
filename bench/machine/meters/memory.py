"""Memory of the host: what there is, and the most that this process held.

Peak RSS counts resident pages of this process alone, memory-mapped weights included; children are not in it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.machine.meters import cgroup
from bench.machine.meters.readings import Readings, no_readings
from estimators.units import KIBI

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Memory of the host as this process may use it, container limits respected.

    Attributes:
        total_bytes: of the machine, or the container's limit where that is less.
        available_bytes: without swapping, now.
    """

    total_bytes: int
    available_bytes: int


def host_memory() -> HostMemory:
    """The machine's memory or the container's, whichever is less."""
    machine = psutil.virtual_memory()
    limit = cgroup.memory_limit()
    if limit is None:
        return HostMemory(total_bytes=machine.total, available_bytes=machine.available)
    return HostMemory(total_bytes=min(machine.total, limit.limit_bytes), available_bytes=min(machine.available, limit.available_bytes))


def reset_peak_rss(clear_refs: Path = CLEAR_REFS) -> bool:
    """Reset the peak at what is held now; False where the system cannot, and then the peak is since the process began.

    Linux only: writing 5 to /proc/self/clear_refs (man page proc_pid_clear_refs(5)).
    """
    try:
        clear_refs.write_text("5")
    except OSError:
        return False
    return True


def peak_rss(status: Path = STATUS) -> Readings:
    """The most this process has held since `reset_peak_rss`, or since it began where that returned False.

    From VmHWM on Linux, else from getrusage (which nothing resets), else from the working-set peak on Windows.
    """
    try:
        line = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        line = None
    peak_bytes = int(line[1]) * KIBI if line else _peak_of_process_bytes()
    if peak_bytes is None:
        return no_readings(("peak_rss",), "this system keeps no peak of a process's memory")
    return Readings(values={"peak_rss": peak_bytes})


def _peak_of_process_bytes() -> int | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else KIBI) or None
