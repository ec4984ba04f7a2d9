"""The cross-check: every rule holds for a sound record, and a twin that breaks the rule fails it and the exit code."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.records.environment import DeviceFacts, Environment
from estimators.units import MEBI
from reports.checks.crosscheck import RULES, crosscheck, failed
from reports.views.records.checks import check_table
from tests.support import twins_of_meters, twins_of_serving, twins_of_tunings, twins_of_work
from tests.support.changed_records import (
    A100,
    by_metric,
    exit_code,
    failures,
    with_ceiling,
    with_count,
    with_phase,
)
from tests.support.tiny_models import record

TASKS = ("generate", "decode", "prefill", "train")
TWINS = twins_of_work.TWINS | twins_of_meters.TWINS | twins_of_serving.TWINS | twins_of_tunings.TWINS


@pytest.mark.parametrize("task", TASKS)
def test_a_sound_record_passes_every_check_and_exits_0(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = record(task, hardware=A100)
    assert [check.ok for check in crosscheck(made)] == [True] * len(crosscheck(made))
    assert exit_code(made, tmp_path) == 0
    capsys.readouterr()


@pytest.mark.parametrize("wrong", TWINS)
def test_each_rule_fails_its_twin_and_the_exit_code(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, twin, metrics = TWINS[wrong]
    assert failures(sound()) == []
    assert failures(twin()) == metrics
    assert exit_code(sound(), tmp_path / "sound") == 0
    assert exit_code(twin(), tmp_path / "twin") == 1
    capsys.readouterr()


def test_every_rule_has_a_twin() -> None:
    fired = {rule.__name__ for _, twin, _ in TWINS.values() for rule in RULES if failed(tuple(rule(twin())))}
    assert fired == {rule.__name__ for rule in RULES}


def test_a_route_that_could_not_count_is_not_judged_and_does_not_fail() -> None:
    made = with_count(record("prefill"), 4, value=None, tag="unavailable", reason="fvcore cannot trace it: RuntimeError")
    check = by_metric(made)["prefill_flop, fvcore x2"]
    assert (check.ok, check.explanation) == (None, "fvcore cannot trace it: RuntimeError")
    assert failures(made) == []
    assert check_table(crosscheck(made)).title.endswith("0 failed, 1 could not be judged")


def test_what_fits_into_the_caches_may_be_read_faster_than_memory() -> None:
    min_bytes = record("prefill").estimate.phases["prefill"].min_bytes
    slow = with_ceiling(record("prefill"), "bandwidth", min_bytes / 2)
    cached = dataclasses.replace(slow, environment=Environment(device=DeviceFacts(cache_bytes=32 * MEBI)))
    assert failures(slow) == ["prefill: share of bandwidth ceiling"]
    assert failures(cached) == []
    check = by_metric(cached)["prefill: share of bandwidth ceiling"]
    assert check.ok is None
    assert "fits into this machine's caches" in check.explanation


def test_each_decode_sample_is_held_against_the_bound_of_its_own_context() -> None:
    """A fast first step may beat the bound of a later one, whose cache is longer, without beating physics."""
    made = record("decode", hardware=A100)
    bounds = [step.bound_s for step in made.estimate.phases["decode"].steps]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[3]
    honest = with_phase(made, "decode", samples_s=tuple(bound * 1.0000001 for bound in bounds))
    assert "decode: fastest sample against the physics bound" not in failures(honest)
    swapped = with_phase(made, "decode", samples_s=tuple(bound * 1.0000001 for bound in reversed(bounds)))
    assert "decode: fastest sample against the physics bound" in failures(swapped)
