"""The meters against hand-made control groups and a scripted NVML: right figures, or none and the reason."""

import itertools
import os
from pathlib import Path
from typing import Any

import pynvml
import pytest
from fake_nvml import FakeGpu, FakeNvml, NVMLError

from bench.meters import cgroup, memory, nvml
from bench.meters.gpu_window import FIGURES, MEMORY
from bench.meters.power import PowerMeter
from bench.meters.readings import Readings, no_readings
from estimators.errors import UnavailableError

NEVER_S = 1e6  # the sampling thread sleeps: the test takes every look itself


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


# --- readings ---


def test_a_figure_is_there_or_has_a_reason() -> None:
    assert no_readings(("energy_j",), "no GPU").unavailable == {"energy_j": "no GPU"}
    with pytest.raises(AssertionError, match="energy_j"):
        Readings(values={"energy_j": None})
    with pytest.raises(AssertionError, match="energy_j"):
        Readings(values={"energy_j": 1.0}, unavailable={"energy_j": "no GPU"})


# --- control groups ---


def test_a_limit_of_version_2_leaves_what_is_not_held_and_the_cache_that_can_be_dropped(tmp_path: Path) -> None:
    write(tmp_path, self="0::/pod/box")
    write(tmp_path / "pod" / "box", memory__max="1000", memory__current="700", memory__stat="anon 500\ninactive_file 150\nactive_file 50")
    limit = cgroup.memory_limit(tmp_path, tmp_path / "self")
    assert limit == cgroup.MemoryLimit(limit_bytes=1000, available_bytes=450)


def test_a_parents_tighter_limit_binds(tmp_path: Path) -> None:
    write(tmp_path, self="0::/pod/box")
    write(tmp_path / "pod" / "box", memory__max="max", memory__current="700")
    write(tmp_path / "pod", memory__max="800", memory__current="700", memory__stat="inactive_file 0")
    limit = cgroup.memory_limit(tmp_path, tmp_path / "self")
    assert limit == cgroup.MemoryLimit(limit_bytes=800, available_bytes=100)


def test_a_limit_of_version_1_is_read_from_its_own_hierarchy(tmp_path: Path) -> None:
    write(tmp_path, self="9:name=systemd:/x\n4:memory:/box\n1:cpu,cpuacct:/box")
    box = tmp_path / "memory" / "box"
    write(box, memory__limit_in_bytes="5000", memory__usage_in_bytes="3000", memory__stat="inactive_file 10\ntotal_inactive_file 1000")
    write(tmp_path / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="9000")
    write(tmp_path / "cpu,cpuacct" / "box", **{"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"})
    assert cgroup.memory_limit(tmp_path, tmp_path / "self") == cgroup.MemoryLimit(limit_bytes=5000, available_bytes=3000)
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") == 1.5


def test_a_group_that_is_not_visible_inside_a_container_falls_back_to_the_visible_root(tmp_path: Path) -> None:
    write(tmp_path, self="0::/docker/0123", memory__max="4096", memory__current="96", cpu__max="50000 100000")
    limit = cgroup.memory_limit(tmp_path, tmp_path / "self")
    assert limit == cgroup.MemoryLimit(limit_bytes=4096, available_bytes=4000)
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") == 0.5


@pytest.mark.parametrize("quota", ["max 100000", "-1", "nonsense", ""])
def test_no_limit_is_none_and_never_a_number(tmp_path: Path, quota: str) -> None:
    write(tmp_path, self="0::/", memory__max="max", cpu__max=quota)
    assert cgroup.memory_limit(tmp_path, tmp_path / "self") is None
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") is None
    assert cgroup.memory_limit(tmp_path, tmp_path / "no such file") is None


def test_the_memory_of_the_host_is_the_containers_where_that_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.psutil.virtual_memory()
    monkeypatch.setattr(cgroup, "memory_limit", lambda: None)
    assert memory.host_memory().total_bytes == machine.total
    monkeypatch.setattr(cgroup, "memory_limit", lambda: cgroup.MemoryLimit(limit_bytes=2**20, available_bytes=2**19))
    assert memory.host_memory() == memory.HostMemory(total_bytes=2**20, available_bytes=2**19)
    monkeypatch.setattr(cgroup, "memory_limit", lambda: cgroup.MemoryLimit(limit_bytes=2**60, available_bytes=2**60))
    assert memory.host_memory().total_bytes == machine.total


# --- peak RSS ---


def test_peak_rss_is_the_kernels_high_water_mark(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n")
    assert memory.peak_rss(status).values == {"peak_rss": 2 * 2**20}


def test_peak_rss_sees_memory_that_was_given_back_and_can_be_started_anew() -> None:
    block = bytearray(256 * 2**20)
    block[:: 2**12] = b"x" * (len(block) // 2**12)
    del block
    with_block = memory.peak_rss().values["peak_rss"]
    if not memory.reset_peak_rss():
        pytest.skip("this system cannot reset the peak of a process")
    after_reset = memory.peak_rss().values["peak_rss"]
    assert with_block is not None
    assert after_reset is not None
    assert with_block - after_reset > 200 * 2**20


def test_without_proc_the_peak_comes_from_getrusage_and_cannot_be_reset(tmp_path: Path) -> None:
    import resource

    kibi = 1 if os.uname().sysname == "Darwin" else 1024  # getrusage(2): kilobytes on Linux, bytes on macOS
    assert memory.peak_rss(tmp_path / "none").values["peak_rss"] == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibi
    assert memory.reset_peak_rss(tmp_path / "no" / "such" / "folder") is False


def test_a_system_without_a_peak_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_peak_of_process_bytes", lambda: None)
    readings = memory.peak_rss(tmp_path / "none")
    assert readings.values == {"peak_rss": None}
    assert readings.unavailable == {"peak_rss": "this system keeps no peak of a process's memory"}


# --- NVML: which GPUs ---


def test_the_fake_has_only_what_the_real_library_has() -> None:
    names = [name for name in vars(FakeNvml) if not name.startswith("_")]
    assert len(names) > 15
    assert [name for name in names if not hasattr(pynvml, name)] == []
    assert FakeNvml.NVML_CLOCK_SM == pynvml.NVML_CLOCK_SM
    assert FakeNvml.NVML_TEMPERATURE_GPU == pynvml.NVML_TEMPERATURE_GPU


THREE = FakeNvml(FakeGpu("GPU-aa1"), FakeGpu("GPU-aa2"), FakeGpu("GPU-bbb"))


@pytest.mark.parametrize(
    ("asked", "seen"),
    # CUDA C++ Programming Guide, CUDA_VISIBLE_DEVICES: entries after an invalid one are invisible; prefixes of UUIDs will do
    [
        (None, ("GPU-aa1", "GPU-aa2", "GPU-bbb")),
        ("2,0", ("GPU-bbb", "GPU-aa1")),
        ("GPU-b, 1", ("GPU-bbb", "GPU-aa2")),
        ("", ()),
        ("-1", ()),
        ("1,7,0", ("GPU-aa2",)),
        ("GPU-aa", ()),
        ("0,0", ("GPU-aa1",)),
        ("1,MIG-123,0", ("GPU-aa2",)),
        ("²", ()),
    ],
)
def test_cuda_visible_devices_is_honoured(asked: str | None, seen: tuple[str, ...]) -> None:
    visible = nvml.visible(THREE, {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked})
    assert visible.uuids == seen
    assert bool(visible.note) == (asked not in (None, "2,0", "GPU-b, 1"))


def test_the_order_of_unlike_gpus_is_certain_only_by_bus_id() -> None:
    mixed = FakeNvml(FakeGpu("GPU-1", name="NVIDIA T1000"), FakeGpu("GPU-2"))
    assert "order may differ" in nvml.visible(mixed, {}).note
    assert nvml.visible(mixed, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).note == ""


def test_a_gpu_is_described_and_what_it_does_not_tell_has_a_reason() -> None:
    described = nvml.describe(FakeNvml(FakeGpu("GPU-1", ecc=NVMLError("Not Supported"))), "GPU-1")
    assert described["name"] == "NVIDIA H100 80GB HBM3"
    assert (described["power_limit_w"], described["memory_total_bytes"]) == (700.0, 85_520_809_984)
    assert described["ecc"] is None
    assert described["unavailable"]["ecc"] == "nvmlDeviceGetEccMode: Not Supported"
    assert nvml.describe(FakeNvml(), "GPU-1")["unavailable"] == {"gpu": "nvmlDeviceGetHandleByUUID: Not Found"}


def test_a_machine_without_a_driver_is_unavailable_in_one_line() -> None:
    missing = FakeNvml(init_error=NVMLError("NVML Shared Library Not Found"))
    with pytest.raises(UnavailableError, match=r"^NVML cannot be read: NVML Shared Library Not Found$"), nvml.session(missing):
        pass


# --- the power meter ---


def metered(gpu: FakeGpu, times_s: list[float]) -> Readings:
    """Readings of a meter that looks at the given times: the first and last as the window's ends."""
    library = FakeNvml(gpu)
    meter = PowerMeter(gpu.uuid, library=library, interval_s=NEVER_S, now=iter(times_s).__next__)
    with meter:
        for _ in times_s[1:-1]:
            meter.look()
        assert library.open_sessions == 1
    assert library.open_sessions == 0
    return meter.readings()


def codes(readings: Readings) -> list[str]:
    return [finding.code for finding in readings.findings]


def test_energy_is_the_difference_of_the_counter_and_power_is_integrated_beside_it() -> None:
    # 1,200 J in 4 s is 300 W; trapezoids: 1 s at (100 + 300) / 2 and 3 s at (300 + 500) / 2 are 200 + 1,200 J
    gpu = FakeGpu(
        "GPU-1", energy_mj=[5_000_000, 5_200_000, 6_200_000], power_mw=[100_000, 300_000, 500_000], sm_clock_mhz=[1980, 1500, 1980]
    )
    readings = metered(gpu, [10.0, 11.0, 14.0])
    assert readings.values == {
        "window_s": 4.0,
        "energy_j": pytest.approx(1200.0),
        "mean_power_w": pytest.approx(300.0),
        "sampled_energy_j": pytest.approx(1400.0),
        "max_power_w": pytest.approx(500.0),
        "power_limit_w": pytest.approx(700.0),
        "mean_sm_clock_hz": pytest.approx(1.82e9),
        "min_sm_clock_hz": pytest.approx(1.5e9),
        "max_sm_clock_hz": pytest.approx(1.98e9),
        "min_memory_clock_hz": pytest.approx(2.619e9),
        "first_temperature_c": 60.0,
        "max_temperature_c": 60.0,
        "throttled_fraction": 0.0,
        "power_capped_s": 0.0,
        "thermal_capped_s": 0.0,
    }
    assert readings.unavailable == {}
    assert readings.findings == ()
    assert set(readings.values) == set(FIGURES)


def test_a_window_shorter_than_a_second_is_flagged() -> None:
    assert codes(metered(FakeGpu("GPU-1", energy_mj=[0, 100]), [0.0, 0.9])) == ["ShortWindow"]
    assert codes(metered(FakeGpu("GPU-1", energy_mj=[0, 100]), [0.0, 1.0])) == []


def test_a_counter_that_did_not_move_is_missing_and_not_zero() -> None:
    readings = metered(FakeGpu("GPU-1", energy_mj=700), [0.0, 0.05])
    assert (readings.values["energy_j"], readings.values["mean_power_w"]) == (None, None)
    assert readings.unavailable["energy_j"] == "the energy counter did not move: the window is too short for it"


def test_a_counter_that_went_backwards_is_missing() -> None:
    readings = metered(FakeGpu("GPU-1", energy_mj=[900, 100, 2000]), [0.0, 1.0, 2.0])
    assert readings.values["energy_j"] is None
    assert "went backwards" in readings.unavailable["energy_j"]


def test_a_counter_that_the_gpu_lacks_is_missing_with_its_own_reason_and_the_others_stay() -> None:
    unsupported = NVMLError("Not Supported")
    gpu = FakeGpu("GPU-1", energy_mj=unsupported, event_reasons=unsupported, limit_mw=unsupported)
    readings = metered(gpu, [0.0, 2.0])
    assert readings.unavailable == {
        "energy_j": "nvmlDeviceGetTotalEnergyConsumption: Not Supported",
        "mean_power_w": "nvmlDeviceGetTotalEnergyConsumption: Not Supported",
        "power_limit_w": "nvmlDeviceGetEnforcedPowerLimit: Not Supported",
        "throttled_fraction": "nvmlDeviceGetCurrentClocksEventReasons: Not Supported",
    }
    assert readings.values["sampled_energy_j"] == pytest.approx(600.0)


def test_throttling_is_reported_with_its_causes_and_idling_is_not_throttling() -> None:
    # nvml.h: 0x1 GPU idle, 0x4 software power cap, 0x40 hardware thermal slowdown
    readings = metered(FakeGpu("GPU-1", energy_mj=[0, 1, 2, 3], event_reasons=[0x1, 0x4, 0x44, 0x0]), [0.0, 1.0, 2.0, 3.0])
    assert readings.values["throttled_fraction"] == 0.5
    assert codes(readings) == ["Throttled"]
    assert "50 % of the looks: power cap, thermal (hardware)" in readings.findings[0].text


@pytest.mark.parametrize(("counted_mj", "found"), [(3_000_000, []), (2_000_000, ["EnergyDisagrees"])])
def test_counter_and_integrated_power_are_held_against_each_other(counted_mj: int, found: list[str]) -> None:
    # 300 W over 10 s are 3,000 J
    assert codes(metered(FakeGpu("GPU-1", energy_mj=[0, counted_mj]), [0.0, 10.0])) == found


@pytest.mark.parametrize(
    ("pids", "shared"),
    [((), False), ((os.getpid(),), False), ((os.getpid(), 4_000_001), True), ((4_000_001,), False), ((4_000_001, 4_000_002), True)],
    ids=["nobody", "this process", "another beside it", "one unknown: maybe this one, from inside a container", "two unknown"],
)
def test_another_process_on_the_gpu_is_reported(pids: tuple[int, ...], shared: bool) -> None:
    assert ("DeviceShared" in codes(metered(FakeGpu("GPU-1", energy_mj=[0, 1], pids=pids), [0.0, 2.0]))) is shared


@pytest.mark.parametrize(
    ("uuid", "library", "reason"),
    [
        (None, None, "no NVIDIA device in use"),
        ("GPU-1", FakeNvml(init_error=NVMLError("Driver Not Loaded")), "Driver Not Loaded"),
        ("GPU-9", FakeNvml(FakeGpu("GPU-1")), "NVML does not know the device GPU-9"),
        ("GPU-1", FakeNvml(FakeGpu("GPU-1", mig=(1, 1))), "is divided (MIG)"),
        ("GPU-7", FakeNvml(FakeGpu("MIG-7")), "MIG-7 is a slice of a GPU (MIG)"),
    ],
    ids=["cpu", "no driver", "unknown", "divided", "slice"],
)
def test_a_device_that_cannot_be_metered_costs_the_figures_and_not_the_run(uuid: str | None, library: Any, reason: str) -> None:
    with PowerMeter(uuid, library=library) as meter:
        pass
    readings = meter.readings()
    assert readings.values == dict.fromkeys(FIGURES)
    assert all(reason in why for why in readings.unavailable.values())
    assert library is None or library.open_sessions == 0


def test_the_device_s_counters_see_slowdowns_that_no_look_met() -> None:
    # nvml.h: nvmlViolationTime_t.violationTime in nanoseconds; 0.5 s by the power cap, 0.25 s by heat, in 2 s
    gpu = FakeGpu("GPU-1", energy_mj=[0, 1], power_violation_ns=[10**9, 1_500_000_000], thermal_violation_ns=[0, 250_000_000])
    readings = metered(gpu, [0.0, 2.0])
    assert (readings.values["power_capped_s"], readings.values["thermal_capped_s"]) == (0.5, 0.25)
    assert readings.values["throttled_fraction"] == 0.0
    assert codes(readings) == ["Throttled"]
    assert "by its counters for 0.50 s (power cap), 0.25 s (thermal)" in readings.findings[0].text


@pytest.mark.parametrize(
    ("counter_ns", "reason"),
    [
        ([5, 1], "the counter went backwards"),
        ([0, 9 * 10**9], "the counter says 9.0 s in a window of 2.0 s"),
        (NVMLError("Not Supported"), "nvmlDeviceGetViolationStatus: Not Supported"),
    ],
)
def test_a_slowdown_counter_that_cannot_be_believed_is_missing(counter_ns: Any, reason: str) -> None:
    readings = metered(FakeGpu("GPU-1", energy_mj=[0, 1], thermal_violation_ns=counter_ns), [0.0, 2.0])
    assert readings.values["thermal_capped_s"] is None
    assert reason in readings.unavailable["thermal_capped_s"]
    assert readings.values["power_capped_s"] == 0.0


def test_a_clock_that_jumps_back_costs_every_figure_of_the_window() -> None:
    readings = metered(FakeGpu("GPU-1", energy_mj=[0, 100, 200]), [5.0, 9.0, 4.0])
    assert readings.values == dict.fromkeys(FIGURES)
    assert set(readings.unavailable.values()) == {"the clock went backwards during the window"}


def test_a_jump_forward_is_a_gap_and_stops_the_cross_check_but_not_the_counter() -> None:
    # 300 W sampled over 100 s would be 30 kJ; the counter, which slept as well, says 3 kJ
    library = FakeNvml(FakeGpu("GPU-1", energy_mj=[0, 1_500_000, 3_000_000]))
    meter = PowerMeter("GPU-1", library=library, interval_s=0.1, now=iter([0.0, 0.05, 100.0]).__next__)
    meter._done.set()  # the thread ends at once: the test takes every look
    with meter:
        meter.look()
    readings = meter.readings()
    assert readings.values["energy_j"] == 3000.0
    assert codes(readings) == ["SamplingGap"]
    assert "for 100.0 s" in readings.findings[0].text


def test_named_windows_have_their_own_energy() -> None:
    # looks: enter, prefill from and to, decode from and to, leave
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
        meter.look()
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
            meter.look()
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
