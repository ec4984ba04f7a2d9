"""The power meter against a scripted NVML: right figures, or none and the reason."""

import os
from typing import Any

import pytest

from bench.machine.meters.gpu_window import FIGURES
from bench.machine.meters.power import PowerMeter
from bench.machine.meters.readings import Readings, no_readings
from tests.support.fake_nvml import FakeGpu, FakeNvml, NVMLError
from tests.support.scripted_power import codes, metered


def test_a_figure_is_there_or_has_a_reason() -> None:
    assert no_readings(("energy_j",), "no GPU").unavailable == {"energy_j": "no GPU"}
    with pytest.raises(AssertionError, match="energy_j"):
        Readings(values={"energy_j": None})
    with pytest.raises(AssertionError, match="energy_j"):
        Readings(values={"energy_j": 1.0}, unavailable={"energy_j": "no GPU"})


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
    assert "50 % of the samples: power cap, thermal (hardware)" in readings.findings[0].text


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
    meter._done.set()  # the thread ends at once: the test takes every sample
    with meter:
        meter.sample()
    readings = meter.readings()
    assert readings.values["energy_j"] == 3000.0
    assert codes(readings) == ["SamplingGap"]
    assert "for 100.0 s" in readings.findings[0].text
