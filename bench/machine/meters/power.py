"""Reads one NVIDIA GPU over a window: energy counter, power, clocks, temperature, throttling, memory, who else is on it.

Energy is the difference of the device's own counter; power, sampled on a thread and integrated, stands beside it
as a check. The counter steps about every 100 ms and the power reading of newer devices is an average over 1 s
(the Zeus project's measurements; Yang et al., arXiv 2312.02741), so a window shorter than a second is flagged.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.machine.meters import nvml
from bench.machine.meters.gpu_window import FIGURES, MEMORY, GpuSample, peak_memory, short_window, summarise
from bench.machine.meters.readings import Readings, no_readings
from bench.records.record import Finding
from estimators.errors import UnavailableError
from estimators.units import GIGA, KILO, MEGA

PROCESSES_EVERY = 5
"""Samples from one list of the device's processes to the next: it takes longer than all other questions together."""


class PowerMeter:
    """Reads one GPU between entering and leaving a `with` block; afterwards `readings` has the figures.

    A device that is not there, or a counter that it lacks, is no error: its figures are None, with the reason.

    Args:
        uuid: as NVML writes it, `GPU-...`; None where no NVIDIA device is in use.
        library: pynvml or a fake of it; None imports pynvml.
        interval_s: between two samples of the sampling thread.
        now: monotonic time in seconds.
    """

    def __init__(
        self, uuid: str | None, *, library: Any = None, interval_s: float = 0.1, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._uuid, self._library, self._interval_s, self._now = uuid, library, interval_s, now
        self._reason = "no NVIDIA device in use"
        self._handle: Any = None
        self._unanswered: dict[str, str] = {}
        self._samples: list[GpuSample] = []
        self._sampling = threading.Lock()
        self._windows: list[tuple[str, int, int]] = []
        self._most_others = 0
        self._power_limit_w: float | None = None
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
            thread = threading.Thread(target=self._keep_sampling, name="power-meter", daemon=True)
            self._stack.callback(self._finish, thread)
            self.sample()
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_reading(self) -> bool:
        """Whether there is a device that answers."""
        return self._handle is not None

    def sample(self, *, last: bool = False) -> int:
        """Take one sample of the device, as the thread does every `interval_s`; returns its number."""
        with self._sampling:
            self._samples.append(
                GpuSample(
                    at_s=self._now(),
                    energy_j=self._ask("energy_j", "nvmlDeviceGetTotalEnergyConsumption", 1 / KILO),
                    power_w=self._ask("power_w", "nvmlDeviceGetPowerUsage", 1 / KILO),
                    sm_clock_hz=self._ask("sm_clock_hz", "nvmlDeviceGetClockInfo", MEGA, nvml.CLOCK_SM),
                    memory_clock_hz=self._ask("memory_clock_hz", "nvmlDeviceGetClockInfo", MEGA, nvml.CLOCK_MEMORY),
                    temperature_c=self._ask("temperature_c", "nvmlDeviceGetTemperature", 1, nvml.TEMPERATURE_GPU),
                    slowdowns=self._answer("slowdowns", "nvmlDeviceGetCurrentClocksEventReasons", of=int),
                    power_capped_s=self._violation_s("power_capped_s", nvml.PERF_POLICY_POWER),
                    thermal_capped_s=self._violation_s("thermal_capped_s", nvml.PERF_POLICY_THERMAL),
                    nvml_device=self._answer("nvml_device", "nvmlDeviceGetMemoryInfo", of=lambda memory: float(memory.used)),
                    nvml_process=self._sample_processes() if last or len(self._samples) % PROCESSES_EVERY == 0 else None,
                )
            )
            return len(self._samples) - 1

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """A named part of the whole window, with a sample at either end; its figures are `name`_energy_j and `name`_window_s."""
        if self._handle is None:
            yield
            return
        first = self.sample()
        try:
            yield
        finally:
            self._windows.append((name, first, self.sample()))

    def readings(self) -> Readings:
        """The figures of the window that has ended, and of the named parts."""
        if not self._samples:
            return no_readings(FIGURES, self._reason)
        whole = summarise(self._samples, self._power_limit_w, self._unanswered, self._interval_s)
        values, unavailable, findings = dict(whole.values), dict(whole.unavailable), [*whole.findings, *self._shared()]
        for name, first, last in self._windows:
            part = summarise(self._samples[first : last + 1], self._power_limit_w, self._unanswered, self._interval_s)
            for figure in ("energy_j", "window_s"):
                values[f"{name}_{figure}"] = part.values[figure]
                if figure in part.unavailable:
                    unavailable[f"{name}_{figure}"] = part.unavailable[figure]
            short = short_window(part.values["window_s"] or 0.0, f"{name}: ")
            findings += [short] if short else []
        return Readings(values=values, unavailable=unavailable, findings=tuple(findings))

    def memory(self) -> Readings:
        """Bytes of the device by NVML, the peaks of the samples: of this process, and of all."""
        return peak_memory(self._samples, self._unanswered) if self._samples else no_readings(MEMORY, self._reason)

    def _open(self, uuid: str) -> None:
        self._library = self._stack.enter_context(nvml.session(self._library))
        if divided := nvml.slice_reason(self._library, uuid):
            raise UnavailableError(f"{divided}: NVML's counters are of whole GPUs and say nothing of one slice")
        handle, reason = nvml.ask(self._library, "nvmlDeviceGetHandleByUUID", uuid)
        if handle is None:
            raise UnavailableError(f"NVML does not know the device {uuid}: {reason}")
        self._handle = handle

    def _answer(self, field: str, function: str, *arguments: Any, of: Callable[[Any], Any]) -> Any:
        answer, reason = nvml.ask(self._library, function, self._handle, *arguments, of=of)
        if reason:
            self._unanswered.setdefault(field, reason)
        return answer

    def _ask(self, field: str, function: str, unit: float = 1, *arguments: Any) -> float | None:
        number: float | None = self._answer(field, function, *arguments, of=lambda answer: float(answer * unit))
        return number

    def _violation_s(self, field: str, policy: int) -> float | None:
        seconds: float | None = self._answer(field, "nvmlDeviceGetViolationStatus", policy, of=lambda status: status.violationTime / GIGA)
        return seconds

    def _keep_sampling(self) -> None:
        while not self._done.wait(self._interval_s):
            self.sample()

    def _finish(self, thread: threading.Thread) -> None:
        self._done.set()
        if thread.ident is not None:
            thread.join()
        self.sample(last=True)

    def _sample_processes(self) -> float | None:
        """Bytes that this process holds on the device; notes how many others compute there.

        In a container pids differ from the driver's: one unknown process may be this one, and is then neither counted as
        another nor taken for its memory.
        """
        held_bytes: dict[int, int | None] | None = self._answer(
            "nvml_process",
            "nvmlDeviceGetComputeRunningProcesses",
            of=lambda processes: {process.pid: process.usedGpuMemory for process in processes},
        )
        if held_bytes is None:
            return None
        own = os.getpid()
        self._most_others = max(self._most_others, len(held_bytes) - 1)
        held = held_bytes.get(own)
        if held is None:
            self._unanswered.setdefault("nvml_process", "the driver does not list this process's memory under its pid, as in a container")
        return held if held is None else float(held)

    def _shared(self) -> tuple[Finding, ...]:
        others = self._most_others
        if others < 1:
            return ()
        text = f"{others} other process{'es' if others > 1 else ''} had the GPU during the window"
        return (Finding(code="DeviceShared", text=text, advice="measure on a GPU that is yours alone"),)
