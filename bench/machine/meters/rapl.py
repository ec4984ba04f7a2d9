"""Energy of the processors from their own counters (RAPL), through the kernel's powercap files.

The counters are of whole packages: other programs' work is in them. They wrap at a range that the kernel tells, after
ten minutes at the earliest. Source: Linux kernel documentation, power/powercap/powercap.rst.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine.meters.readings import Readings
from estimators.errors import UnavailableError
from estimators.units import MEGA

ROOT = Path("/sys/class/powercap")
FIGURES = ("cpu_package_energy_j", "cpu_dram_energy_j")
MOST_W = 2000.0
"""No processor package draws so much: a counter that says so was reset, and did not wrap around."""

LOOK_S = 60.0
"""A package of 400 W wraps a range of 262,144 J in eleven minutes; one that is read more often never wraps twice unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One counter. `kind` is package or dram; `range_j` is what it wraps at, None where the kernel does not tell."""

    path: Path
    kind: str
    range_j: float | None


def domains(root: Path = ROOT) -> list[Domain]:
    """The counters of packages and their memory that can be read.

    Raises:
        UnavailableError: there are none here, or they may not be read; one line says which.
    """
    counters = []
    for folder in sorted(root.glob("intel-rapl:*")):
        kind = (_text(folder / "name") or "").partition("-")[0]
        if kind in ("package", "dram"):
            highest = _text(folder / "max_energy_range_uj")
            counters.append(
                Domain(path=folder / "energy_uj", kind=kind, range_j=int(highest) / MEGA if highest and highest.isdecimal() else None)
            )
    if not any(domain.kind == "package" for domain in counters):
        raise UnavailableError("no RAPL counters here (/sys/class/powercap): a virtual machine, a container, or a processor without them")
    for domain in counters:
        try:
            _read_j(domain)
        except PermissionError:
            raise UnavailableError(
                "RAPL counters may not be read by this user; as root: chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"
            ) from None
        except (OSError, ValueError) as error:
            raise UnavailableError(f"a RAPL counter cannot be read: {error}") from None
    return counters


class CpuEnergyMeter:
    """Reads the packages' counters between entering and leaving a `with` block; what cannot be read is None, with the reason.

    Args:
        root: of the powercap files.
        now: monotonic time in seconds.
    """

    def __init__(self, root: Path = ROOT, now: Callable[[], float] = time.perf_counter) -> None:
        self._root, self._now = root, now
        self._domains: list[Domain] = []
        self._reason = "the meter was not started"
        self._at_j: list[float] = []
        self._used_j: list[float] = []
        self._broken: dict[str, str] = {}
        self._spans: list[tuple[str, float, list[float]]] = []
        self._looking = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._start_s = self._end_s = 0.0

    def __enter__(self) -> CpuEnergyMeter:
        try:
            self._domains = domains(self._root)
            self._at_j = [_read_j(domain) for domain in self._domains]
        except (UnavailableError, OSError, ValueError) as error:
            self._reason, self._domains = str(error), []
            return self
        self._used_j = [0.0] * len(self._domains)
        self._start_s = self._now()
        self._thread = threading.Thread(target=self._keep_looking, name="rapl-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self.read()
            self._end_s = self._now()

    @property
    def is_reading(self) -> bool:
        """Whether there are counters that answer."""
        return bool(self._domains)

    def read(self) -> list[float]:
        """Joules used so far, by counter; adds what each has advanced since the last reading, its wrap-around undone."""
        with self._looking:
            for i, domain in enumerate(self._domains):
                try:
                    at_j = _read_j(domain)
                except (OSError, ValueError) as error:
                    self._broken[domain.kind] = f"a counter stopped answering: {error}"
                    continue
                advanced_j = at_j - self._at_j[i]
                if advanced_j < 0 and domain.range_j is None:
                    self._broken[domain.kind] = "a counter went backwards, and the kernel does not tell where it wraps"
                self._used_j[i] += advanced_j + (domain.range_j or 0.0 if advanced_j < 0 else 0.0)
                self._at_j[i] = at_j
            return list(self._used_j)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """A named part of the whole window; its figures are `name`_cpu_package_energy_j and likewise for memory."""
        if not self._domains:
            yield
            return
        start_s, before = self._now(), self.read()
        try:
            yield
        finally:
            after = self.read()
            self._spans.append((f"{name}_", self._now() - start_s, [b - a for a, b in zip(before, after, strict=True)]))

    def readings(self) -> Readings:
        """The figures of the window that has ended, and of the named parts."""
        values: dict[str, float | None] = {}
        unavailable: dict[str, str] = {}
        for prefix, window_s, used in [("", self._end_s - self._start_s, self._used_j), *self._spans]:
            if prefix:
                values[f"{prefix}window_s"] = window_s
            for figure in FIGURES:
                value, reason = self._sum(figure.split("_")[1], window_s, used)
                values[f"{prefix}{figure}"] = value
                if value is None:
                    unavailable[f"{prefix}{figure}"] = reason
        return Readings(values=values, unavailable=unavailable)

    def _sum(self, kind: str, window_s: float, used_j: list[float]) -> tuple[float | None, str]:
        if not self._domains:
            return None, self._reason
        parts = [j for domain, j in zip(self._domains, used_j, strict=True) if domain.kind == kind]
        if not parts or kind in self._broken:
            return None, self._broken.get(kind, f"this processor has no counter of its {kind}")
        if sum(parts) == 0:
            return None, "the counter did not move: the window is too short for it"
        if max(parts) > MOST_W * window_s:
            return None, f"the counter says more than {MOST_W:.0f} W: it was reset during the window"
        return sum(parts), ""

    def _keep_looking(self) -> None:
        while not self._done.wait(LOOK_S):
            self.read()


def _read_j(domain: Domain) -> float:
    return int(domain.path.read_text(encoding="ascii")) / MEGA


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
