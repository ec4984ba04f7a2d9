"""Collectives between processes: really run over gloo, counted as nccl-tests counts them, refused in one line where they cannot be."""

import dataclasses

import pytest

from bench.backend import collectives as measured
from bench.backend.collectives import SIZES, Collective, collectives
from bench.backend.device import Device, choose
from bench.workloads.here import calibrating
from estimators.errors import UnavailableError

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
    fastest = {c.kind: c for c in calibrating._fastest(found)}
    assert fastest["all-reduce"].value == 2**21 / 2.0
    assert fastest["all-reduce"].shape == "2 MiB between 2 processes over gloo"
    assert fastest["all-gather"].value == 600 / 4.0
    assert [calibrating._between(one).num_bytes for one in found] == [2**21, 1200, 1200]
    assert len({calibrating._between(one).key for one in found}) == 3


def test_without_several_processes_the_reason_is_kept() -> None:
    found, reason = calibrating._collectives(choose("cpu"), None, "quick", print)
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


def test_a_process_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-link")
    with pytest.raises(UnavailableError, match=r"collectives between 2 processes failed: \S") as raised:
        collectives(choose("cpu"), 2, "quick")
    assert "\n" not in str(raised.value)
