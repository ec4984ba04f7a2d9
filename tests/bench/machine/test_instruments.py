"""RAPL, memory of a family of processes, and all instruments of a run together, on hand-made files and scripted clocks."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.machine.meters import family, rapl
from bench.machine.meters.instruments import Instruments
from bench.machine.meters.power import PowerMeter
from bench.machine.meters.rapl import CpuEnergyMeter
from bench.machine.meters.readings import Readings
from estimators.errors import UnavailableError
from tests.support.fake_nvml import FakeGpu, FakeNvml


def domain(root: Path, folder: str, name: str, energy_uj: int, range_uj: int | None = 262_143_328_850) -> Path:
    """A powercap folder as the kernel lays it out."""
    place = root / folder
    place.mkdir(parents=True)
    (place / "name").write_text(name + "\n")
    (place / "energy_uj").write_text(f"{energy_uj}\n")
    if range_uj is not None:
        (place / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return place / "energy_uj"


def used(root: Path, change: Callable[[], None], times_s: tuple[float, float] = (0.0, 10.0)) -> Readings:
    with CpuEnergyMeter(root, now=iter(times_s).__next__) as meter:
        change()
    return meter.readings()


def test_packages_are_added_up_and_memory_is_a_figure_of_its_own(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    dram = domain(tmp_path, "intel-rapl:0:0", "dram", 0)
    domain(tmp_path, "intel-rapl:0:1", "core", 123)  # a part of its package: never added

    def change() -> None:
        first.write_text("101000000")
        second.write_text("57000000")
        dram.write_text("5000000")

    assert used(tmp_path, change).values == {"cpu_package_energy_j": 150.0, "cpu_dram_energy_j": 5.0}


def test_a_counter_that_wraps_goes_on_from_its_range(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 990_000_000, range_uj=1_000_000_000)
    readings = used(tmp_path, lambda: counter.write_text("20000000"))
    assert readings.values["cpu_package_energy_j"] == pytest.approx(30.0)
    assert readings.unavailable == {"cpu_dram_energy_j": "this processor has no counter of its dram"}


def test_a_counter_that_goes_back_without_a_known_range_is_missing(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 990_000_000, range_uj=None)
    readings = used(tmp_path, lambda: counter.write_text("20000000"))
    assert readings.values["cpu_package_energy_j"] is None
    assert "went backwards" in readings.unavailable["cpu_package_energy_j"]


def test_a_counter_that_was_reset_says_more_watts_than_there_are_and_is_missing(tmp_path: Path) -> None:
    # 262,143 J of wrap-around in 10 s would be 26 kW
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 500_000_000)
    readings = used(tmp_path, lambda: counter.write_text("1"))
    assert "it was reset during the window" in readings.unavailable["cpu_package_energy_j"]


def test_a_counter_that_did_not_move_is_missing_and_not_zero(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 500)
    readings = used(tmp_path, lambda: None)
    assert readings.values["cpu_package_energy_j"] is None
    assert "did not move" in readings.unavailable["cpu_package_energy_j"]


def test_a_counter_that_stops_answering_is_missing(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 500)
    assert "stopped answering" in used(tmp_path, counter.unlink).unavailable["cpu_package_energy_j"]


def test_named_windows_have_their_own_processor_energy(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    with CpuEnergyMeter(tmp_path, now=itertools.count().__next__) as meter:
        counter.write_text("5000000")
        with meter.window("decode"):
            counter.write_text("12000000")
    values = meter.readings().values
    assert (values["cpu_package_energy_j"], values["decode_cpu_package_energy_j"], values["decode_window_s"]) == (12.0, 7.0, 1)


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no RAPL counters here"):
        rapl.domains(tmp_path)
    readings = used(tmp_path, lambda: None)
    assert readings.values == dict.fromkeys(rapl.FIGURES)
    assert all("no RAPL counters here" in reason for reason in readings.unavailable.values())


def test_counters_that_only_root_may_read_say_how_to_open_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 500)

    def refused(_: rapl.Domain) -> float:
        raise PermissionError

    monkeypatch.setattr(rapl, "_read_j", refused)
    with pytest.raises(UnavailableError, match=r"may not be read by this user; as root: chmod a\+r"):
        rapl.domains(tmp_path)


# --- memory of a family ---


class Relative:
    """A process of a given size; the eldest lists its descendants, which takes a second, and may refuse to."""

    def __init__(self, rss_bytes: int, *below: Relative, refuses: bool = False, ended: bool = False) -> None:
        self.rss_bytes, self.below, self.refuses, self.ended = rss_bytes, below, refuses, ended
        self.num_searches, self.now_s = 0, 0.0

    def children(self, *, recursive: bool) -> list[Relative]:
        assert recursive
        if self.refuses:
            raise psutil.AccessDenied
        self.num_searches += 1
        self.now_s += 1.0
        return list(self.below)

    def memory_info(self) -> SimpleNamespace:
        if self.ended:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(rss=self.rss_bytes)

    def now(self) -> float:
        return self.now_s


def test_a_family_is_the_process_and_all_below_it_but_those_that_have_ended() -> None:
    eldest = Relative(100, Relative(20), Relative(3), Relative(4000), Relative(9, ended=True))
    meter = family.FamilyMemory(eldest)  # type: ignore[arg-type]
    meter.sample()
    assert meter.readings().values == {family.FIGURE: 4123}


def test_the_search_for_children_takes_a_hundredth_of_the_time_at_most() -> None:
    eldest = Relative(100)
    meter = family.FamilyMemory(eldest, now=eldest.now)  # type: ignore[arg-type]
    for _ in range(400):  # one sample a second
        meter.sample()
        eldest.now_s += 1.0
    assert eldest.num_searches == 5  # at 0, 100, 200, 300 and 400 of 405 s


def test_a_child_that_holds_memory_is_seen_and_the_parent_s_own_peak_is_not_it() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    below = "block = b'x' * (200 << 20); print('ready', flush=True); input()"
    with family.FamilyMemory(interval_s=1e6, now=lambda: 0.0) as meter:
        alone = psutil.Process().memory_info().rss
        with subprocess.Popen([sys.executable, "-c", code, below], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            meter.sample()
            child.communicate("\n")
    peak = meter.readings().values[family.FIGURE]
    assert peak is not None
    assert peak - alone > 190 << 20


def test_a_system_that_lists_no_children_has_no_figure() -> None:
    with family.FamilyMemory(Relative(100, refuses=True)) as meter:  # type: ignore[arg-type]
        pass
    assert meter.readings().unavailable == {family.FIGURE: "this system does not list a process's children"}


# --- all together ---


def instruments(
    gpu: FakeGpu | None,
    folder: Path,
    *,
    wall_s: tuple[float, float] = (0.0, 10.0),
    processor: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0)),
) -> Readings:
    """Readings over 10 s of the monotonic clock; the GPU's own meter samples at 0, 2 s (idle), and at 0, 10 s."""
    times_s = iter([0.0, 2.0, 0.0, 10.0])
    library = FakeNvml(gpu) if gpu else None
    meter = Instruments(
        gpu and gpu.uuid,
        idle_s=2.0,
        power=lambda uuid: PowerMeter(uuid, library=library, interval_s=1e6, now=times_s.__next__),
        cpu_energy=lambda: CpuEnergyMeter(folder),
        sleep=lambda _: None,
        now=iter([0.0, 10.0]).__next__,
        wall=iter(wall_s).__next__,
        processor=iter(processor).__next__,
    )
    with meter:
        pass
    assert meter.memory().values.keys() == {"nvml_process", "nvml_device", family.FIGURE}
    return meter.readings()


def test_idle_power_is_read_before_and_stands_beside_the_gross_energy(tmp_path: Path) -> None:
    # 120 J in 2 s at rest are 60 W; then 4,000 J in 10 s
    values = instruments(FakeGpu("GPU-1", energy_mj=[0, 120_000, 120_000, 4_120_000]), tmp_path).values
    assert (values["idle_power_w"], values["energy_j"]) == (60.0, 4000.0)


def test_without_any_counter_nothing_waits_and_every_figure_has_a_reason(tmp_path: Path) -> None:
    waited: list[float] = []
    meter = Instruments(None, power=PowerMeter, cpu_energy=lambda: CpuEnergyMeter(tmp_path), sleep=waited.append)
    with meter:
        pass
    assert waited == []
    assert meter.readings().values["idle_power_w"] is None
    assert meter.readings().unavailable["idle_power_w"] == "no NVIDIA device in use"


@pytest.mark.parametrize(("share", "found"), [(0.2, []), (0.3, ["CpuShared"])])
def test_other_programs_on_the_processors_are_noticed(share: float, found: list[str], tmp_path: Path) -> None:
    cores_s = 10.0 * (os.cpu_count() or 1)
    readings = instruments(None, tmp_path, processor=((100.0, 5.0), (100.0 + 4.0 + share * cores_s, 9.0)))
    assert readings.values["other_processors_fraction"] == pytest.approx(share)
    assert [finding.code for finding in readings.findings] == found


def test_other_ranks_of_the_same_run_are_no_other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    readings = instruments(None, tmp_path, processor=((0.0, 0.0), (1e6, 0.0)))
    assert readings.values["other_processors_fraction"] is None
    assert readings.findings == ()


@pytest.mark.parametrize(("wall_s", "found"), [((0.0, 10.5), []), ((0.0, 3610.0), ["ClockJumped"]), ((0.0, -50.0), ["ClockJumped"])])
def test_a_wall_clock_that_jumps_is_noticed(wall_s: tuple[float, float], found: list[str], tmp_path: Path) -> None:
    assert [finding.code for finding in instruments(None, tmp_path, wall_s=wall_s).findings] == found
