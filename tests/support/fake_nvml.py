"""A pynvml that answers from a script. `test_nvml` checks that every function of it exists in the real one."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bench.machine.meters import nvml


class NVMLError(Exception):
    """The base of pynvml's errors."""


@dataclass
class FakeGpu:
    """One GPU. A value that is an NVMLError is raised; a list gives one entry per call, the last one again and again."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    energy_mj: Any = 0
    power_mw: Any = 300_000
    sm_clock_mhz: Any = 1980
    memory_clock_mhz: Any = 2619
    temperature_c: Any = 60
    event_reasons: Any = 0
    limit_mw: Any = 700_000
    ecc: Any = (1, 1)
    mig: Any = field(default_factory=lambda: NVMLError("Not Supported"))
    pids: Any = ()
    used_bytes: Any = 0
    process_bytes: Any = None
    power_violation_ns: Any = 0
    thermal_violation_ns: Any = 0


class FakeNvml:
    """The functions that the meters call, over a list of FakeGpu in the order of the PCI bus."""

    NVMLError = NVMLError

    def __init__(self, *gpus: FakeGpu, init_error: NVMLError | None = None) -> None:
        self.gpus = gpus
        self.open_sessions = 0
        self._init_error = init_error

    def nvmlInit(self) -> None:  # noqa: N802
        if self._init_error:
            raise self._init_error
        self.open_sessions += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open_sessions -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: N802
        for gpu in self.gpus:
            if gpu.uuid == uuid:
                return gpu
        raise NVMLError("Not Found")

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.15"

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:  # noqa: N802
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:  # noqa: N802
        return gpu.name

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=85_520_809_984, used=_next(gpu, "used_bytes"))

    def nvmlDeviceGetPersistenceMode(self, gpu: FakeGpu) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetVbiosVersion(self, gpu: FakeGpu) -> str:  # noqa: N802
        return "96.00.74.00.01"

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:  # noqa: N802
        return _next(gpu, "energy_mj")

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:  # noqa: N802
        return _next(gpu, "power_mw")

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu) -> int:  # noqa: N802
        return _next(gpu, "limit_mw")

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, clock: int) -> int:  # noqa: N802
        return _next(gpu, {nvml.CLOCK_SM: "sm_clock_mhz", nvml.CLOCK_MEMORY: "memory_clock_mhz"}[clock])

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:  # noqa: N802
        assert sensor == nvml.TEMPERATURE_GPU
        return _next(gpu, "temperature_c")

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:  # noqa: N802
        return _next(gpu, "event_reasons")

    def nvmlDeviceGetEccMode(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _next(gpu, "ecc")

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _next(gpu, "mig")

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=gpu.process_bytes) for pid in _next(gpu, "pids")]

    def nvmlDeviceGetViolationStatus(self, gpu: FakeGpu, policy: int) -> SimpleNamespace:  # noqa: N802
        name = {nvml.PERF_POLICY_POWER: "power_violation_ns", nvml.PERF_POLICY_THERMAL: "thermal_violation_ns"}[policy]
        return SimpleNamespace(violationTime=_next(gpu, name))


def _next(gpu: FakeGpu, name: str) -> Any:
    value = getattr(gpu, name)
    if isinstance(value, list):
        value = value.pop(0) if len(value) > 1 else value[0]
    if isinstance(value, NVMLError):
        raise value
    return value
