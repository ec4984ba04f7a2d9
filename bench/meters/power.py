"""Reads one NVIDIA GPU over a window: energy counter, power, clock, temperature, throttling.

Energy is the difference of the device's own counter; power, sampled on a thread and integrated, stands beside it
as a check. The counter steps about every 100 ms and the power reading of newer devices is an average over 1 s
(the Zeus project's measurements; Yang et al., arXiv 2312.02741), so a window shorter than a second is flagged.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench.meters import nvml
from bench.meters.gpu_window import FIGURES, Look, summarise
from bench.meters.readings import Readings, no_readings
from bench.record import Finding
from estimators.errors import UnavailableError
from estimators.units import KILO, MEGA


class PowerMeter:
    """Reads one GPU between entering and leaving a `with` block; afterwards `readings` has the figures.

    A device that is not there, or a counter that it lacks, is no error: its figures are None, with the reason.

    Args:
        uuid: as NVML writes it, `GPU-...`; None where no NVIDIA device is in use.
        library: pynvml or a fake of it; None imports pynvml.
        interval_s: between two looks of the sampling thread.
        now: monotonic time in seconds.
    """

    def __init__(
        self, uuid: str | None, *, library: Any = None, interval_s: float = 0.1, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._uuid, self._library, self._interval_s, self._now = uuid, library, interval_s, now
        self._reason = "no NVIDIA device in use; the energy of a CPU is not read"
        self._handle: Any = None
        self._unanswered: dict[str, str] = {}
        self._looks: list[Look] = []
        self._power_limit_w: float | None = None
        self._shared: tuple[Finding, ...] = ()
        self._done = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> PowerMeter:
        if self._uuid is not None:
            try:
                self._open(self._uuid)
            except UnavailableError as error:
                self._reason = str(error)
                self._stack.close()
        if self._handle is not None:
            self._power_limit_w = self._ask("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", 1 / KILO)
            thread = threading.Thread(target=self._keep_looking, name="power-meter", daemon=True)
            self._stack.callback(self._finish, thread)
            self.look()
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> None:
        """Take one look at the device, as the thread does every `interval_s`."""
        library = self._library
        at_s = self._now()
        energy_j = self._ask("energy_j", "nvmlDeviceGetTotalEnergyConsumption", 1 / KILO)
        reasons = self._ask("slowdowns", "nvmlDeviceGetCurrentClocksEventReasons")
        self._looks.append(
            Look(
                at_s=at_s,
                energy_j=energy_j,
                power_w=self._ask("power_w", "nvmlDeviceGetPowerUsage", 1 / KILO),
                sm_clock_hz=self._ask("sm_clock_hz", "nvmlDeviceGetClockInfo", MEGA, library.NVML_CLOCK_SM),
                temperature_c=self._ask("temperature_c", "nvmlDeviceGetTemperature", 1, library.NVML_TEMPERATURE_GPU),
                slowdowns=None if reasons is None else int(reasons),
            )
        )

    def readings(self) -> Readings:
        """The figures of the window that has ended."""
        if not self._looks:
            return no_readings(FIGURES, self._reason)
        summary = summarise(self._looks, self._power_limit_w, self._unanswered)
        return Readings(values=summary.values, unavailable=summary.unavailable, findings=(*summary.findings, *self._shared))

    def _open(self, uuid: str) -> None:
        self._library = self._stack.enter_context(nvml.session(self._library))
        handle, reason = nvml.ask(self._library, "nvmlDeviceGetHandleByUUID", uuid)
        if handle is None:
            raise UnavailableError(f"NVML does not know the device {uuid}: {reason}")
        modes, _ = nvml.ask(self._library, "nvmlDeviceGetMigMode", handle)
        if modes and modes[0]:
            raise UnavailableError(f"{uuid} is divided (MIG): its counters are of the whole GPU and say nothing of one slice")
        self._handle = handle

    def _ask(self, field: str, function: str, unit: float = 1, *arguments: Any) -> float | None:
        answer, reason = nvml.ask(self._library, function, self._handle, *arguments)
        if answer is None:
            self._unanswered.setdefault(field, reason)
            return None
        return float(answer * unit)

    def _keep_looking(self) -> None:
        while not self._done.wait(self._interval_s):
            self.look()

    def _finish(self, thread: threading.Thread) -> None:
        self._done.set()
        if thread.ident is not None:
            thread.join()
        self.look()
        self._shared = self._other_processes()

    def _other_processes(self) -> tuple[Finding, ...]:
        """Whether others compute on the device. In a container pids differ from the driver's: one unknown process may be this one."""
        processes, _ = nvml.ask(self._library, "nvmlDeviceGetComputeRunningProcesses", self._handle)
        pids = {process.pid for process in processes or ()}
        others = len(pids - {os.getpid()}) if os.getpid() in pids else len(pids) - 1
        if others < 1:
            return ()
        text = f"{others} other process{'es' if others > 1 else ''} had the GPU at the end of the window"
        return (Finding(code="DeviceShared", text=text, advice="measure on a GPU that is yours alone"),)
