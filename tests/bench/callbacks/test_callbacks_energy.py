"""Energy of a watched training: windows between pauses, put together; what is not known stays so."""

from __future__ import annotations

import pytest

from bench.callbacks.energy import Energy, joined
from bench.machine.meters.gpu_window import FIGURES
from bench.machine.meters.readings import Readings
from bench.records.record import Finding
from tests.support.fake_nvml import FakeGpu, FakeNvml, NVMLError


def window(seconds: float, energy_j: float | None, **values: float) -> Readings:
    figures: dict[str, float | None] = {"window_s": seconds, "energy_j": energy_j} | values
    reasons = {} if energy_j is not None else {"energy_j": "the energy counter did not move: the window is too short for it"}
    return Readings(values=figures, unavailable=reasons, findings=(Finding(code="ShortWindow", text="short"),))


def test_windows_add_up_and_means_are_weighted_by_time() -> None:
    parts = [window(10.0, 3000.0, mean_sm_clock_hz=1e9, max_power_w=310.0), window(30.0, 6000.0, mean_sm_clock_hz=2e9, max_power_w=290.0)]
    whole = joined(parts)
    assert dict(whole.values) == {"window_s": 40.0, "energy_j": 9000.0, "mean_sm_clock_hz": 1.75e9, "max_power_w": 310.0}
    assert [finding.code for finding in whole.findings] == ["ShortWindow"]


def test_a_window_too_short_for_the_counter_is_left_out_where_there_are_longer_ones() -> None:
    whole = joined([window(10.0, 3000.0), window(0.05, None)])
    assert dict(whole.values) == {"window_s": 10.0, "energy_j": 3000.0}
    assert joined([window(0.05, None)]).values["energy_j"] is None


def test_a_long_window_without_energy_leaves_none_with_its_reason() -> None:
    whole = joined([window(10.0, 3000.0), window(10.0, None)])
    assert whole.values["energy_j"] is None
    assert "did not move" in whole.unavailable["energy_j"]


def test_no_window_has_no_figure_and_says_so() -> None:
    assert dict(joined([]).unavailable) == dict.fromkeys(FIGURES, "no step was timed")


def test_the_counter_is_read_while_a_window_is_open() -> None:
    library = FakeNvml(FakeGpu("GPU-1", energy_mj=[1_000, 6_000, 9_000]))
    energy = Energy("GPU-1", library)
    energy.open()
    energy.open()  # an open one stays
    assert library.open_sessions == 1
    energy.close()
    assert energy.so_far_j() == energy.readings().values["energy_j"] == pytest.approx(5.0)
    assert library.open_sessions == 0


def test_without_a_gpu_there_is_no_energy_and_a_reason() -> None:
    energy = Energy(None)
    energy.open()
    assert energy.so_far_j() is None
    energy.close()
    assert "no NVIDIA device in use" in energy.readings().unavailable["energy_j"]


def test_a_missing_driver_breaks_nothing() -> None:
    energy = Energy("GPU-1", FakeNvml(init_error=NVMLError("Driver Not Loaded")))
    energy.open()
    energy.close()
    assert "Driver Not Loaded" in energy.readings().unavailable["energy_j"]
