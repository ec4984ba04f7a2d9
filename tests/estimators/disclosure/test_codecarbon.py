"""codecarbon's emissions.csv: what each trap of the format would have made of it, and what is read in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.disclosure.codecarbon import Tracked, read_emissions, tracked
from estimators.errors import BadValueError
from estimators.facts.electricity import grid
from tests.support.codecarbon_files import HEADER, emissions


def read(*rows: dict[str, str], header: str = HEADER) -> Tracked:
    return tracked([("emissions.csv", emissions(*rows, header=header))])


def test_one_run_has_its_parts_apart_in_joules_and_grams() -> None:
    """0.4 kWh are 1.44 MJ, 0.0835 kg are 83.5 g, and an hour on eight GPUs is eight device hours."""
    found = read({})
    (run,) = found.experiments
    assert {energy.part: (energy.kind, energy.energy_j) for energy in run.energies} == {
        "GPUs": ("measured", pytest.approx(1.44e6)),
        "processors": ("not stated", pytest.approx(0.18e6)),
        "memory": ("estimated", pytest.approx(0.072e6)),
    }
    assert (found.emissions_g, found.country, found.pue) == (pytest.approx(83.5), "FRA", None)
    assert (run.device, run.num_devices, run.device_s) == ("NVIDIA A100-SXM4-80GB", 8, 8 * 3600.0)
    assert run.architecture_flop is None
    assert "no FLOP" in run.reason("architecture_flop")


def test_rows_of_a_run_are_cumulative_and_the_last_one_is_taken() -> None:
    found = read({"gpu_energy": "0.1", "energy_consumed": "0.15", "duration": "900"}, {})
    assert [run.energy_j("measured") for run in found.experiments] == [pytest.approx(1.44e6)]
    assert "cumulative" in found.remarks[0]


def test_eight_processes_of_one_machine_are_one() -> None:
    """codecarbon's issue 544: each process writes the whole machine's energy, so that a sum is eight times too much."""
    files = [(f"emissions-{rank}.csv", emissions({"run_id": f"r{rank}", "gpu_energy": f"0.{40 + rank}"})) for rank in range(8)]
    found = tracked(files)
    assert [run.name for run in found.experiments] == ["r0"]
    assert "7 of 8 runs" in found.remarks[0]


def test_runs_one_after_another_are_added_and_those_of_processes_too() -> None:
    later = {"run_id": "b", "timestamp": "2026-01-31T14:00:00"}
    assert len(read({}, later).experiments) == 2
    assert len(read({"tracking_mode": "process"}, {"run_id": "b", "tracking_mode": "process"}).experiments) == 2


def test_a_file_of_a_release_has_its_runs_one_after_another_and_our_factor_is_its_own() -> None:
    """Written by codecarbon 3.3.2: a run that was flushed once, then one at a PUE of 1.5 that began as the first ended.

    Times are whole seconds, so that the two overlap by milliseconds. Kilograms over kilowatt-hours are France's factor in its tables.
    """
    found = read_emissions(str(Path(__file__).with_name("emissions_3_3_2.csv")))
    first, second = found.experiments
    assert [run.device_s for run in (first, second)] == [5.032264019002469, 2.004249372999766]
    assert first.energy_j("not stated") == pytest.approx(1.1179774025589473e-05 * 3.6e6)
    assert second.energy_j("estimated") == pytest.approx(1.669485778332576e-05 * 3.6e6 / 1.5)
    assert (first.energy_j("measured"), found.pue, found.country) == (None, None, "FRA")
    kwh = 3.912405885338391e-05 + 2.337461125998743e-05
    assert grid("FRA").carbon.value * 3.6e6 * kwh * 1000 == pytest.approx(found.emissions_g)


@pytest.mark.parametrize(
    ("row", "why"),
    [({"gpu_energy": "0.0", "gpu_count": "", "gpu_model": ""}, "found no GPU"), ({"gpu_energy": "0.0"}, "GPUs that are there")],
)
def test_no_watts_of_gpus_are_no_reading_and_never_nought(row: dict[str, str], why: str) -> None:
    (run,) = read(row).experiments
    assert run.energy_j("measured") is None
    assert why in run.energies[0].source


def test_a_pue_that_was_given_is_taken_out_of_the_energy_and_kept() -> None:
    """codecarbon multiplies each part by its PUE before it writes it: 0.4 kWh at a PUE of 1.6 are 0.25 at the devices."""
    found = read({"pue": "1.6"})
    assert found.experiments[0].energy_j("measured") == pytest.approx(0.25 * 3.6e6)
    assert found.pue == 1.6


def test_columns_are_read_by_name_whatever_their_order_and_an_old_release_has_fewer() -> None:
    old = [name for name in HEADER.split(",") if name not in ("experiment_id", "water_consumed", "wue", "pue", "on_cloud")]
    assert read({}, header=",".join(reversed(old))).experiments == read({}).experiments


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "no column timestamp"),
        (HEADER + "\n", "has no run"),
        (emissions({}) + "2026-01-31T12:00:00,tuning,b,\n", r"line 3 has 4 cells and its header 38; it was cut off"),
        (emissions({"gpu_energy": "nan"}), r"line 2: gpu_energy is 'nan'"),
        (emissions({"duration": "1;5"}), r"duration is '1;5'"),
        (emissions({"energy_consumed": ""}), r"energy_consumed is blank"),
        (emissions({"timestamp": "yesterday"}), r"timestamp is 'yesterday'"),
        (emissions({"run_id": "x" * 200_000}), r"field larger than field limit"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line_with_its_place(text: str, about: str, tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadValueError, match=about) as caught:
        read_emissions(str(path))
    assert "\n" not in str(caught.value)
