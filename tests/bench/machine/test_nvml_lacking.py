"""An NVML that lacks functions, raises, or is another package: one figure is unavailable with its reason, the others are there."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench.machine import environment
from bench.machine.doctor import gpu as doctor
from bench.machine.meters import nvml
from bench.machine.meters.gpu_window import FIGURES, MEMORY
from bench.machine.meters.power import PowerMeter
from estimators.errors import UnavailableError
from tests.support.fake_nvml import FakeGpu, FakeNvml, NVMLError

UUID = "GPU-aaaa1111-0000-0000-0000-000000000000"

FUNCTIONS = [name for name in vars(FakeNvml) if name.startswith("nvml")]

LOST = {
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_j", "mean_power_w"},
    "nvmlDeviceGetPowerUsage": {"sampled_energy_j", "max_power_w"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_w"},
    "nvmlDeviceGetClockInfo": {"mean_sm_clock_hz", "min_sm_clock_hz", "max_sm_clock_hz", "min_memory_clock_hz"},
    "nvmlDeviceGetTemperature": {"first_temperature_c", "max_temperature_c"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"throttled_fraction"},
    "nvmlDeviceGetViolationStatus": {"power_capped_s", "thermal_capped_s"},
    "nvmlDeviceGetComputeRunningProcesses": {"nvml_process"},
    "nvmlDeviceGetMemoryInfo": {"nvml_device"},
    "nvmlInit": {*FIGURES, *MEMORY},
    "nvmlDeviceGetHandleByUUID": {*FIGURES, *MEMORY},
}
"""What each function alone tells; the others tell of the machine and not of a window."""


class Changed:
    """The fake with one function replaced, or gone where there is none in its place."""

    def __init__(self, library: FakeNvml, name: str, instead: Any = None) -> None:
        self._library, self._name, self._instead = library, name, instead

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._library, name)
        if self._instead is None:
            raise AttributeError(name)
        return self._instead


def raising(error: Exception) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        raise error

    return function


def library() -> FakeNvml:
    gpu = FakeGpu(UUID, energy_mj=[1000 * step for step in range(9)], pids=(), used_bytes=2**30)
    return FakeNvml(gpu)


WAYS = {
    "absent": None,
    "raises NVMLError": raising(NVMLError("Function Not Found")),
    "raises what is no NVMLError": raising(OSError("libnvidia-ml.so.1: undefined symbol")),
    "raises nothing said": raising(RuntimeError()),
    "answers None": lambda *_: None,
    "answers of another type": lambda *_: "x",
}


@pytest.fixture(autouse=True)
def threads_died(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    yield died
    assert died == []


def metered(lacking: Any) -> tuple[set[str], dict[str, str]]:
    """Names of the figures that a meter lacks over such a library, and all reasons."""
    meter = PowerMeter(UUID, library=lacking, interval_s=0.001)
    with meter, meter.window("steady"):
        time.sleep(0.004)
    figures, held = meter.readings(), meter.memory()
    missing = {name for name in FIGURES if figures.values[name] is None} | {name for name in MEMORY if held.values[name] is None}
    return missing, {**figures.unavailable, **held.unavailable}


def test_a_whole_library_lacks_nothing_but_the_memory_under_a_foreign_pid() -> None:
    assert metered(library())[0] == {"nvml_process"}


UNJUDGED = ("nvmlInit", "nvmlDeviceGetHandleByUUID")
"""The first answers nothing when all is well, and a handle is for NVML alone to judge."""


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in FUNCTIONS for way in WAYS if not (name in UNJUDGED and way.startswith("answers"))]
)
def test_a_function_that_fails_costs_its_own_figures_alone(name: str, way: str) -> None:
    missing, reasons = metered(Changed(library(), name, WAYS[way]))
    assert missing == LOST.get(name, set()) | {"nvml_process"}
    assert all(reasons[figure] for figure in missing)
    for figure in LOST.get(name, set()) - {"energy_j", "mean_power_w"}:
        assert name.removeprefix("nvml") in reasons[figure] or name == "nvmlInit", reasons[figure]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_environment_and_doctor_answer_whatever_function_fails(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = Changed(library(), name, WAYS[way])
    assert all(item.found for item in doctor.items(lacking, {}))
    monkeypatch.setitem(sys.modules, "pynvml", lacking)
    unavailable: dict[str, str] = {}
    seen = environment._group("gpu", environment._gpu, unavailable)
    assert seen is not None or unavailable["gpu"]


def test_a_device_that_falls_off_the_bus_in_the_middle_keeps_what_was_read_of_the_rest() -> None:
    lost = NVMLError("GPU is lost")
    gpu = FakeGpu(UUID, energy_mj=[0, 1000, lost], power_mw=[200_000, 200_000, lost], temperature_c=[50, 70, lost])
    meter = PowerMeter(UUID, library=FakeNvml(gpu), interval_s=1e6, now=iter([0.0, 2.0, 4.0]).__next__)
    with meter:
        meter.sample()
    readings = meter.readings()
    assert (readings.values["max_temperature_c"], readings.values["max_power_w"]) == (70.0, 200.0)
    assert readings.values["energy_j"] is None
    assert readings.unavailable["energy_j"] == "nvmlDeviceGetTotalEnergyConsumption: GPU is lost"


def test_a_shutdown_that_fails_ends_nothing() -> None:
    with nvml.session(Changed(library(), "nvmlShutdown", raising(NVMLError("Uninitialized")))):
        pass


def test_an_error_inside_a_session_is_not_taken_for_one_of_nvml() -> None:
    with pytest.raises(ZeroDivisionError, match="ours"), nvml.session(library()):
        raise ZeroDivisionError("ours")


def test_another_package_called_pynvml_is_one_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", ModuleType("pynvml"))
    with pytest.raises(UnavailableError, match=r"pynvml has no such function; pip install -U nvidia-ml-py$"), nvml.session():
        pass


def test_a_package_that_is_not_even_python_3_is_one_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "pynvml.py").write_text("print 'nvml'\n")
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(UnavailableError, match="NVML cannot be read: the package pynvml does not import: Missing parentheses"),
        nvml.session(),
    ):
        pass


def test_a_package_that_answers_in_bytes_is_read() -> None:
    old = Changed(Changed(library(), "nvmlDeviceGetName", lambda _: b"Tesla V100"), "nvmlDeviceGetUUID", lambda _: UUID.encode())  # type: ignore[arg-type]
    assert nvml.visible(old, {}).uuids == (UUID,)
    assert nvml.describe(old, UUID).name == "Tesla V100"


def test_memory_of_this_process_is_read_under_its_own_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    processes = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=7), SimpleNamespace(pid=1, usedGpuMemory=None)]
    meter = PowerMeter(UUID, library=Changed(library(), "nvmlDeviceGetComputeRunningProcesses", lambda _: processes), interval_s=1e6)
    with meter:
        time.sleep(0.001)
    assert meter.memory().values["nvml_process"] == 7.0
    assert "DeviceShared" in [finding.code for finding in meter.readings().findings]
