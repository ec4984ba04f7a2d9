"""Collectives between processes: really run over gloo, counted as nccl-tests counts them, refused in one line where they cannot be."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from bench.backend import collectives as measured
from bench.backend.collectives import SIZES, Collective, collectives
from bench.backend.device import Device, choose
from bench.calibration import calibrate
from estimators.errors import UnavailableError
from reports.views.records.calibration import calibration_tables
from tests.support.calibrations import whole
from tests.support.error_lines import complaint

KINDS = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all"}


def made(kind: str, processes: int, *samples_s: float, num_bytes: int = 1200) -> Collective:
    return Collective(kind=kind, num_bytes=num_bytes, processes=processes, over="gloo", samples_s=samples_s)


def test_every_operation_is_timed_at_every_size_between_two_processes() -> None:
    found = collectives(choose("cpu"), 2, "quick")
    assert {(one.kind, one.num_bytes) for one in found} == {(kind, size) for kind in KINDS for size in SIZES["quick"]}
    assert all(len(one.samples_s) == measured.SAMPLES["quick"] and min(one.samples_s) > 0 for one in found)
    by_size = {(one.kind, one.num_bytes): min(one.samples_s) for one in found}
    for kind in KINDS:  # 4,096 times the bytes cannot be as fast as a message that is all latency
        small, large = sorted(SIZES["quick"])
        assert by_size[kind, large] > by_size[kind, small], kind


@pytest.mark.parametrize(
    ("kind", "processes", "bus_bytes"),
    [("all-reduce", 2, 1200), ("all-reduce", 4, 1800), ("all-gather", 4, 900), ("reduce-scatter", 2, 600), ("all-to-all", 3, 800)],
)
def test_the_bytes_on_the_bus_are_those_of_nccl_tests(kind: str, processes: int, bus_bytes: int) -> None:
    assert made(kind, processes, 1.0).bus_bytes == bus_bytes


def test_a_calibration_keeps_every_size_and_the_rate_of_the_largest() -> None:
    found = [made("all-reduce", 2, 1.0, 3.0, 2.0, num_bytes=2**21), made("all-reduce", 2, 0.5), made("all-gather", 2, 4.0)]
    fastest = {c.kind: c for c in calibrate._fastest(found)}
    assert fastest["all-reduce"].value == 2**21 / 2.0
    assert fastest["all-reduce"].shape == "2 MiB between 2 processes over gloo"
    assert fastest["all-gather"].value == 600 / 4.0
    assert [calibrate._between(one).num_bytes for one in found] == [2**21, 1200, 1200]
    assert len({calibrate._between(one).key for one in found}) == 3


def test_without_several_processes_the_reason_is_kept() -> None:
    found, reason = calibrate._collectives(choose("cpu"), None, "quick", print)
    assert found == []
    assert "name more with --processes" in reason


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (Device(kind="mps", index=0, name="Apple GPU (MPS)"), "no backend of collectives for mps"),
        (dataclasses.replace(choose("cpu"), kind="cuda"), "nccl|64 processes need 64 GPUs"),
    ],
)
def test_where_they_cannot_run_one_line_says_why(device: Device, reason: str) -> None:
    with pytest.raises(UnavailableError, match=reason):
        collectives(device, 64, "quick")


def uneven(rank: int, folder: str) -> None:
    """One of two processes, which take turns at being the slower."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    slowest = measured._slowest([1.0, 4.0] if rank == 0 else [3.0, 2.0], choose("cpu"))
    (Path(folder) / f"{rank}.json").write_text(json.dumps(slowest))
    dist.destroy_process_group()


def test_each_sample_is_that_of_the_slowest_process(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(uneven, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [[3.0, 4.0]] * 2


def test_a_calibrations_tables_list_them_by_size_and_leave_them_out_where_there_are_none() -> None:
    entries = [calibrate._between(made("all-reduce", 2, 0.5, num_bytes=size)) for size in (2**21, 4096)]
    shown = {table.key: table for table in calibration_tables(whole().with_entries(entries))}
    assert [(row["kind"], row["num_bytes"], row["seconds_s"]) for row in shown["collectives"].rows] == [
        ("all-reduce", 4096, 0.5),
        ("all-reduce", 2**21, 0.5),
    ]
    assert "collectives" not in {table.key for table in calibration_tables(whole())}


def test_a_process_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-link")
    with pytest.raises(UnavailableError, match=r"collectives between 2 processes failed: \S") as raised:
        collectives(choose("cpu"), 2, "quick")
    assert "\n" not in str(raised.value)


def test_a_check_measures_no_collectives_and_refuses_to_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "leave --processes out, or calibrate first" in complaint(["calibrate", "--check", "--processes", "2"], capsys)
