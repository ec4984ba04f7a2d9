"""Everything that is read beside a run: the GPU's counters, the processor's, memory of all processes, other programs, the clocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psutil

from bench.machine.meters.family import FamilyMemory
from bench.machine.meters.power import PowerMeter
from bench.machine.meters.rapl import CpuEnergyMeter
from bench.machine.meters.readings import Readings, no_readings
from bench.records.record import Finding

Watch = Callable[[str], AbstractContextManager[None]]
"""Opens a named window of the instruments around a steady state."""

SHARED_FRACTION = 0.25
"""Of the processors that this process may use, taken by other programs: above it a reader is warned."""

SLEPT_S = 1.0
"""Time that the machine was suspended, or that its wall clock was set by, above which a reader is warned."""


@contextmanager
def unwatched(_: str) -> Iterator[None]:
    """A window of no instruments."""
    yield


def processor_s() -> tuple[float, float]:
    """Seconds of processor time used so far: by the whole machine, and by this process with the children it waited for."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy_s = (
        sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
    )
    return busy_s, own.user + own.system + own.children_user + own.children_system


class Instruments:
    """All meters of one run, between entering and leaving a `with` block.

    Args:
        uuid: of the NVIDIA device in use; None where there is none.
        idle_s: how long to read the idle power before; 0 leaves it out. Nothing waits where no energy can be read.
        power: makes the GPU's meter; cpu_energy: the processor's. Tests hand in fakes.
        sleep, now, wall: the clocks.
        processor: see `processor_s`.
    """

    def __init__(
        self,
        uuid: str | None,
        *,
        idle_s: float = 2.0,
        power: Callable[[str | None], PowerMeter] = PowerMeter,
        cpu_energy: Callable[[], CpuEnergyMeter] = CpuEnergyMeter,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        processor: Callable[[], tuple[float, float]] = processor_s,
    ) -> None:
        self._uuid, self._idle_s, self._sleep = uuid, idle_s, sleep
        self._make_power, self._make_cpu = power, cpu_energy
        self._now, self._wall, self._processor = now, wall, processor
        self._power, self._cpu, self._family = power(uuid), cpu_energy(), FamilyMemory()
        self._stack = ExitStack()
        self._idle = no_readings(("idle_power_w", "idle_cpu_package_power_w"), "no idle power was read")
        self._begin: tuple[float, float, float, float] | None = None
        self._used: tuple[float, float, float, float] | None = None

    def __enter__(self) -> Instruments:
        if self._idle_s > 0:
            self._idle = self._read_idle()
        for meter in (self._power, self._cpu, self._family):
            self._stack.enter_context(meter)
        self._begin = (self._now(), self._wall(), *self._processor())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._begin is not None
        end = (self._now(), self._wall(), *self._processor())
        elapsed_s, wall_s, machine_s, own_s = (after - before for before, after in zip(self._begin, end, strict=True))
        self._used = (elapsed_s, wall_s, machine_s, own_s)
        self._stack.close()

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """A named part of the run, such as the steady samples of one phase."""
        with self._power.window(name), self._cpu.window(name):
            yield

    def readings(self) -> Readings:
        """Energy, power, clocks, idle power and the share of the processors that others took, with what to know of them."""
        parts = [self._cpu.readings(), self._power.readings(), self._idle, self._others()]
        return Readings(
            values={name: value for part in parts for name, value in part.values.items()},
            unavailable={name: reason for part in parts for name, reason in part.unavailable.items()},
            findings=tuple(finding for part in parts for finding in part.findings),
        )

    def memory(self) -> Readings:
        """Bytes by instrument: of the device by NVML, of this process with its children."""
        device, family = self._power.memory(), self._family.readings()
        return Readings(values={**device.values, **family.values}, unavailable={**device.unavailable, **family.unavailable})

    def _read_idle(self) -> Readings:
        """Mean power before the work began; nothing waits where no counter answers at all."""
        with self._make_power(self._uuid) as gpu, self._make_cpu() as cpu:
            if gpu.is_reading or cpu.is_reading:
                self._sleep(self._idle_s)
        of_gpu, of_cpu = gpu.readings(), cpu.readings()
        values: dict[str, float | None] = {"idle_power_w": of_gpu.values["mean_power_w"]}
        unavailable = {name: of_gpu.unavailable["mean_power_w"] for name, value in values.items() if value is None}
        package_j = of_cpu.values["cpu_package_energy_j"]
        values["idle_cpu_package_power_w"] = None if package_j is None else package_j / self._idle_s
        if package_j is None:
            unavailable["idle_cpu_package_power_w"] = of_cpu.unavailable["cpu_package_energy_j"]
        return Readings(values=values, unavailable=unavailable)

    def _others(self) -> Readings:
        name = "other_processors_fraction"
        if any(os.environ.get(variable, "1") != "1" for variable in ("LOCAL_WORLD_SIZE", "WORLD_SIZE")):
            return no_readings((name,), "other ranks of this run cannot be told from other programs")
        if self._used is None or self._used[0] <= 0:
            return no_readings((name,), "the window has no length")
        elapsed_s, wall_s, machine_s, own_s = self._used
        findings = []
        num = psutil.cpu_count() or 1
        others_fraction = max(0.0, machine_s - own_s) / (elapsed_s * num)
        if others_fraction > SHARED_FRACTION:
            text = f"other programs took {100 * others_fraction:.0f} % of this machine's processors during the window"
            findings.append(Finding(code="CpuShared", text=text, advice="measure on a quiet machine"))
        if abs(wall_s - elapsed_s) > SLEPT_S:
            text = f"the wall clock moved by {wall_s:.1f} s and the monotonic clock by {elapsed_s:.1f} s: the machine slept or was set"
            findings.append(Finding(code="ClockJumped", text=text, advice="measure again undisturbed"))
        return Readings(values={name: min(1.0, others_fraction)}, findings=tuple(findings))
