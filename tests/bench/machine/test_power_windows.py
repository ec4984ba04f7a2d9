"""Windows of the power meter, memory by NVML, other processes, and the thread that samples."""

import itertools
import os

from bench.machine.meters.gpu_window import MEMORY
from bench.machine.meters.power import PowerMeter
from tests.support.fake_nvml import FakeGpu, FakeNvml
from tests.support.scripted_power import NEVER_S, codes


def test_named_windows_have_their_own_energy() -> None:
    # samples: enter, prefill from and to, decode from and to, leave
    gpu = FakeGpu("GPU-1", energy_mj=[0, 1000, 401_000, 500_000, 600_000, 700_000])
    meter = PowerMeter("GPU-1", library=FakeNvml(gpu), interval_s=NEVER_S, now=iter([0.0, 1.0, 3.0, 4.0, 4.5, 5.0]).__next__)
    with meter:
        with meter.window("prefill"):
            pass
        with meter.window("decode"):
            pass
    readings = meter.readings()
    assert (readings.values["prefill_energy_j"], readings.values["prefill_window_s"]) == (400.0, 2.0)
    assert (readings.values["decode_energy_j"], readings.values["decode_window_s"]) == (100.0, 0.5)
    assert readings.values["energy_j"] == 700.0
    assert [(f.code, f.text[:8]) for f in readings.findings] == [("ShortWindow", "decode: ")]


def test_a_window_without_a_device_has_no_figures() -> None:
    with PowerMeter(None) as meter, meter.window("prefill"):
        pass
    assert "prefill_energy_j" not in meter.readings().values


def test_memory_by_nvml_is_the_peak_of_the_looks_of_the_process_and_of_the_device() -> None:
    gpu = FakeGpu("GPU-1", used_bytes=[3, 9, 5], pids=(os.getpid(),), process_bytes=2)
    meter = PowerMeter("GPU-1", library=FakeNvml(gpu), interval_s=NEVER_S, now=iter([0.0, 1.0, 2.0]).__next__)
    with meter:
        meter.sample()
    assert meter.memory().values == {"nvml_process": 2.0, "nvml_device": 9.0}
    assert PowerMeter(None).memory().values == dict.fromkeys(MEMORY)


def test_memory_of_a_process_that_the_driver_numbers_otherwise_is_not_guessed() -> None:
    gpu = FakeGpu("GPU-1", used_bytes=3, pids=(4_000_001,), process_bytes=2)
    meter = PowerMeter("GPU-1", library=FakeNvml(gpu), interval_s=NEVER_S, now=iter([0.0, 1.0]).__next__)
    with meter:
        pass
    assert meter.memory().values["nvml_process"] is None
    assert "as in a container" in meter.memory().unavailable["nvml_process"]


def test_a_process_that_came_and_went_during_the_window_is_noticed() -> None:
    library = FakeNvml(FakeGpu("GPU-1", energy_mj=[0, 1], pids=[(os.getpid(),), (os.getpid(), 4_000_001), (os.getpid(),)]))
    meter = PowerMeter("GPU-1", library=library, interval_s=NEVER_S, now=itertools.count().__next__)
    with meter:
        for _ in range(5):
            meter.sample()
    assert "DeviceShared" in codes(meter.readings())


def test_the_thread_looks_by_itself_and_ends_with_the_window() -> None:
    import threading

    looked_often = threading.Event()
    times = itertools.count()

    def now() -> float:
        at_s = next(times)
        if at_s > 5:
            looked_often.set()
        return float(at_s)

    with PowerMeter("GPU-1", library=FakeNvml(FakeGpu("GPU-1", energy_mj=list(range(1000)))), interval_s=1e-4, now=now) as meter:
        assert looked_often.wait(timeout=30)
    assert meter.readings().values["energy_j"] > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "power-meter"]
