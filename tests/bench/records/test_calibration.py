"""A calibration's file: found again by the device's identity, whole or not at all, and refused with one line when it is not one."""

import dataclasses
import json
from pathlib import Path

import pytest

from bench.records import calibration_file
from bench.records.calibration import Reference, machine_profile, measured_rates
from estimators.errors import BadRecordError, BadValueError, UnavailableError
from estimators.profile.operator_times import HOST_MODES, OperatorCall
from tests.support.calibrations import DEVICE, entry, of_an_h100, whole


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "made" / "calibration.json"
    calibration_file.write(whole(), path)
    assert calibration_file.read(path) == whole()
    assert list(path.parent.iterdir()) == [path]


def test_it_is_found_by_what_the_speed_hangs_on(tmp_path: Path) -> None:
    calibration_file.write(whole(), calibration_file.path_for(DEVICE, tmp_path))
    assert calibration_file.find(DEVICE.replaced(memory_total_bytes=5), tmp_path) == whole()
    for changed in ({"num_threads": 1}, {"torch": "2.1"}, {"name": "Another"}, {"uuid": "GPU-1"}, {"cpu_capability": "AVX512"}):
        assert calibration_file.find(DEVICE.replaced(**changed), tmp_path) is None


@pytest.mark.parametrize(
    ("given", "expected"), [("/data", Path("/data")), ("", Path.home() / ".local/share"), ("rel", Path.home() / ".local/share")]
)
def test_the_folder_follows_the_xdg_rules(given: str, expected: Path) -> None:
    assert calibration_file.folder({"XDG_DATA_HOME": given}) == expected / "sixnd" / "calibrations"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a calibration"),
        (json.dumps({"format": 2, "device": {}, "entries": [], "references": []}), "has calibration format 2"),
        (json.dumps({"format": 1, "device": {}, "entries": [{"key": 1}], "references": []}), "is damaged"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(BadRecordError, match=complaint):
        calibration_file.read(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot write the calibration"):
        calibration_file.write(whole(), tmp_path / "file" / "c.json")


def test_medians_curves_and_the_line_of_the_host_are_those_worked_by_hand() -> None:
    known = machine_profile(whole())
    assert known.curves == {("add", "fp32"): ((100.0, 1e-6), (10_000.0, 1e-4))}
    for mode in HOST_MODES:
        assert known.hosts[mode].per_op_s == pytest.approx(1e-6)
        assert known.hosts[mode].fixed_s == pytest.approx(1e-4)


def test_the_host_beside_passing_bytes_is_the_slope_over_its_own_two_depths_and_never_below_the_one_without() -> None:
    beside = [
        Reference(mode="forward", num_ops=ops, work_s=0.0, samples_s=(ops * each_s,), product_bytes=size, passing_bytes=size * ops // 10)
        for size, each_s in ((1000, 3e-6), (2000, 5e-6), (4000, 4e-6))
        for ops in (100, 500)
    ]
    known = machine_profile(dataclasses.replace(whole(), references=(*whole().references, *beside)))
    assert known.hosts["forward"].passing == (
        (100.0, pytest.approx(3e-6)),
        (200.0, pytest.approx(5e-6)),
        (400.0, pytest.approx(5e-6)),
    )
    assert known.hosts["forward"].per_op_s == pytest.approx(1e-6)
    assert known.hosts["language-train"].passing == ()


def test_a_models_own_shapes_count_only_where_they_are_asked_for() -> None:
    mine = OperatorCall(key="mine", kind="add", group="memory", dtype="fp32", num_bytes=1000)
    assert machine_profile(whole()).seconds(mine) == (5e-6, "exact")
    assert machine_profile(whole(), own=False).seconds(mine) == (pytest.approx(1e-5), "interpolated")


def test_entries_of_the_same_key_are_replaced() -> None:
    again = whole().with_entries([entry("mine", 7e-6, "own", num_bytes=1000)])
    assert [e.seconds_s for e in again.entries if e.key == "mine"] == [7e-6]
    assert len(again.entries) == 3


@pytest.mark.parametrize("missing", ["ceilings", "references"])
def test_a_calibration_that_lacks_a_part_predicts_nothing(missing: str) -> None:
    with pytest.raises(BadRecordError, match="make it again"):
        machine_profile(dataclasses.replace(whole(), **{missing: ()}))


def test_a_ceiling_is_the_highest_of_the_sustained_square_and_the_grid_and_no_burst() -> None:
    found = measured_rates(of_an_h100(), "mine.json")
    assert (found.hardware_id, found.link_bytes_per_s) == ("h100-sxm5-80gb", 300e9)
    assert (found.ceiling("bf16"), found.ceiling("fp32"), found.ceiling("fp8")) == (650e12, 50e12, None)
    assert found.title == "mine.json, measured 2026-01-01"


def test_a_device_that_no_registry_knows_gives_no_rates_for_a_cluster() -> None:
    with pytest.raises(BadValueError, match=r"mine.json is of 'Some CPU @ 2 GHz', which is not a device of: python -m bench list hardware"):
        measured_rates(whole(), "mine.json")
