"""Energy of the training alone: windows of the power meter between pauses, and once per physical device over the ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.machine.meters.gpu_window import FIGURES, SHORTEST_WINDOW_S
from bench.machine.meters.power import PowerMeter
from bench.machine.meters.readings import Readings
from bench.records.record import Finding

INTERVAL_S = 1.0
"""Between two samples: a training lasts for hours, and its samples are kept."""

LONGEST_WINDOW_S = 600.0
"""A window that is asked for its energy while it is open is summed up anew; one longer than this is ended and another begun."""

_SUMS, _MEANS = ("window_s", "energy_j", "sampled_energy_j"), ("mean_power_w", "mean_sm_clock_hz", "throttled_fraction")
_LOWEST = ("min_sm_clock_hz", "power_limit_w")


class Energy:
    """The power meter of one rank's device, stopped while the training pauses.

    Args:
        uuid: as NVML writes it; None where there is no NVIDIA device.
        library: pynvml or a fake of it.
    """

    def __init__(self, uuid: str | None, library: Any = None) -> None:
        self._uuid, self._library = uuid, library
        self._meter: PowerMeter | None = None
        self._windows: list[Readings] = []
        self._opened_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a window is open."""
        return self._meter is not None

    def open(self) -> None:
        """Begin a window, unless one is open."""
        if self._meter is None:
            self._meter = PowerMeter(self._uuid, library=self._library, interval_s=INTERVAL_S)
            self._meter.__enter__()
            self._opened_s = time.monotonic()

    def close(self) -> None:
        """End the window, if one is open."""
        if self._meter is not None:
            self._meter.__exit__(None, None, None)
            self._windows.append(self._meter.readings())
            self._meter = None

    def so_far_j(self) -> float | None:
        """Joules up to now, the open window included; None where they are not known."""
        if self._uuid is None:
            return None
        if self._meter is not None and time.monotonic() - self._opened_s > LONGEST_WINDOW_S:
            self.close()
            self.open()
        windows = [*self._windows, *([self._meter.readings()] if self._meter is not None else [])]
        return joined(windows).values.get("energy_j") if windows else None

    def readings(self) -> Readings:
        """All windows that have ended, as one."""
        return joined(self._windows)


def joined(windows: Sequence[Readings]) -> Readings:
    """Windows one after another as one: sums of time and energy, means weighted by time, extremes of extremes.

    Windows too short for the energy counter are left out where there are longer ones, their time too. A figure that one
    window lacks is lacking, with that window's reason.
    """
    findings: dict[str, Finding] = {finding.code: finding for window in windows for finding in window.findings}
    long = [window for window in windows if (window.values.get("window_s") or 0.0) >= SHORTEST_WINDOW_S]
    windows = long or windows
    if not windows:
        return Readings(values=dict.fromkeys(FIGURES), unavailable=dict.fromkeys(FIGURES, "no step was timed"))
    values: dict[str, float | None] = {}
    unavailable: dict[str, str] = {}
    for name in windows[0].values:
        read = [window.values.get(name) for window in windows]
        known = [value for value in read if value is not None]
        if len(known) < len(read):
            values[name] = None
            unavailable[name] = next(window.unavailable[name] for window in windows if window.values.get(name) is None)
        elif name in _SUMS:
            values[name] = sum(known)
        elif name in _MEANS:
            spans = [window.values["window_s"] or 0.0 for window in windows]
            values[name] = sum(value * span for value, span in zip(known, spans, strict=True)) / (sum(spans) or 1.0)
        else:
            values[name] = min(known) if name in _LOWEST else max(known)
    return Readings(values=values, unavailable=unavailable, findings=tuple(findings.values()))


def over_ranks(by_rank: Sequence[tuple[str | None, Mapping[str, float | None]]]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Power figures of all ranks: each physical device once, by UUID, from the rank that watched it longest.

    Energy and limits are summed over the devices, so that energy stays below limit x time; extremes are of all of them.

    Returns:
        The figures, and the reasons for those that a device lacks.

    >>> watched = {"energy_j": 5.0, "window_s": 2.0}
    >>> over_ranks([("GPU-a", watched), ("GPU-a", watched), ("GPU-b", watched)])[0]["energy_j"]
    10.0
    """
    by_uuid: dict[str | None, Mapping[str, float | None]] = {}
    for uuid, values in by_rank:
        if uuid not in by_uuid or (values.get("window_s") or 0.0) > (by_uuid[uuid].get("window_s") or 0.0):
            by_uuid[uuid] = values
    devices = list(by_uuid.values())
    merged: dict[str, float | None] = {}
    unavailable: dict[str, str] = {}
    for name in devices[0]:
        known = [value for values in devices if (value := values.get(name)) is not None]
        if len(known) < len(devices):
            merged[name] = None
            unavailable[name] = "not every rank's device answered" if len(devices) > 1 else ""
        elif name in ("energy_j", "sampled_energy_j", "mean_power_w", "power_limit_w", "idle_energy_j", "net_energy_j"):
            merged[name] = sum(known)
        else:
            merged[name] = min(known) if name.startswith("min_") else max(known)
    return merged, {name: reason for name, reason in unavailable.items() if reason}
