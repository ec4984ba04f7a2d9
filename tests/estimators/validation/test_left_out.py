"""Intervals and track records: held by class, no wider than they need to be, and as the shipped file has them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from estimators.facts import data
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.training.interval import CLASSES, case_class, interval, is_measured, track_record
from estimators.validation.left_out import Missed, class_of, class_scores, ends, missed
from estimators.validation.naive import hardware_utilization, missed_naively
from estimators.validation.score import Scored, scored
from estimators.validation.table import read_table, shipped
from tools.left_out import body


@pytest.fixture(scope="module")
def rows() -> list[Scored]:
    return [scored(record) for path in shipped().values() for record in read_table(path)]


def row(log_ratio: float, source: str = "a", name: str = "experts", device: str = "d") -> Missed:
    return Missed(name=name, source=source, device=device, software="s", log_ratio=log_ratio)


def test_the_shipped_track_records_are_what_the_shipped_rows_say() -> None:
    """After anything that moves a prediction: python docs/refresh.py."""
    assert json.loads(Path(data.file("track_record.json")).read_text(encoding="utf-8")) == json.loads(json.dumps(body()))


def test_the_interval_holds_three_quarters_to_seventeen_twentieths_of_every_class(rows: list[Scored]) -> None:
    scores = class_scores(missed(rows))
    assert set(scores) == set(CLASSES)
    for name, score in scores.items():
        assert 0.75 <= score.coverage <= 0.85, name


def test_the_interval_that_a_row_is_printed_with_is_the_one_that_is_scored(rows: list[Scored]) -> None:
    by_class: dict[str, list[bool]] = {}
    for one in rows:
        if name := class_of(one):
            by_class.setdefault(name, []).append(one.covered)
    for name, score in class_scores(missed(rows)).items():
        assert sum(by_class[name]) / len(by_class[name]) == pytest.approx(score.coverage, abs=0.02), name


def test_no_class_is_scored_worse_than_the_naive_predictor(rows: list[Scored]) -> None:
    ours, naive = class_scores(missed(rows)), class_scores(missed_naively(rows))
    for name in ours:
        assert ours[name].interval_score < naive[name].interval_score, name
        assert ours[name].median < naive[name].median, name


def test_an_interval_score_is_width_and_ten_times_what_lies_outside() -> None:
    """Ten rows at 0, 0.1 … 0.9: the ends are 0 and 0.8, the quantiles at 10 and 90 %; the last row lies 0.1 outside."""
    score = class_scores([row(i / 10) for i in range(10)])["experts"]
    assert score.width == pytest.approx(math.exp(0.8))
    assert score.interval_score == pytest.approx(0.8 + 10 * 0.1 / 10)
    assert score.coverage == pytest.approx(0.9)


def test_width_does_not_pay() -> None:
    narrow = class_scores([row(0.1 * (-1) ** i) for i in range(20)])["experts"]
    wide = class_scores([row(0.4 * (-1) ** i) for i in range(20)])["experts"]
    assert narrow.coverage == wide.coverage == 1
    assert wide.interval_score > narrow.interval_score


def test_a_source_of_many_rows_weighs_as_the_root_of_them() -> None:
    """100 rows at 0 weigh 10, four at 1 weigh 2: a sixth of the weight, so that the upper end is 1; of rows it would be 0."""
    assert ends([row(0.0)] * 100 + [row(1.0, "b")] * 4) == (0.0, 1.0)


def test_ends_that_have_not_seen_a_source_do_not_hold_what_only_it_showed() -> None:
    score = class_scores([row(0.0)] * 10 + [row(1.0, "b")] * 10)["experts"]
    assert (score.coverage, score.blind_coverage) == (1.0, 0.5)


def test_classes_of_cases() -> None:
    assert case_class("megatron-core", experts=False, measured=True) == "megatron-dense"
    assert case_class("transformers", experts=False, measured=True) == "other-software"
    assert case_class("megatron-core", experts=True, measured=True) == "experts"
    assert case_class("megatron-core", experts=True, measured=False) == "unmeasured-device"
    assert is_measured(hardware("a100-sxm4-80gb"))
    assert not is_measured(hardware("tpu-v5p"))
    assert not is_measured(hardware("gaudi3-128gb"))


def test_a_device_of_which_one_machine_was_slower_has_a_wider_interval() -> None:
    """SimuMax's B200 computes at 0.51 of its peak, others' at 0.75; priced by its own ceiling it is no longer far off, and the interval of
    others has room for such a machine: the ratio of both to the share of products in a step."""
    record = track_record("device", "b200-sxm-180gb")
    assert record is not None
    assert not record.is_bad
    above = {name: interval("megatron-dense", hardware(name))[1] for name in ("b200-sxm-180gb", "gb200-186gb")}
    assert above["b200-sxm-180gb"] == pytest.approx((1698 / 1148) ** 0.7, rel=1e-3)
    assert above["gb200-186gb"] < above["b200-sxm-180gb"]


def test_a_device_with_two_rows_has_not_been_measured() -> None:
    """torchao's two steps on MI300X say nothing of what others are missed by: it stays in the class of unmeasured devices."""
    assert not is_measured(hardware("mi300x-192gb"))


def test_a_recomputed_forward_pass_is_in_the_utilization(rows: list[Scored]) -> None:
    """A forward pass and twice of it backward are three; with one more they are four."""
    step = next(one.step for one in rows if one.step and one.step.source == "megatron-2021" and one.step.layout.full)
    full, none = (hardware_utilization(replace(step, layout=replace(step.layout, recompute=again))) for again in ("full", "none"))
    assert full is not None
    assert none is not None
    assert full / none == pytest.approx(4 / 3, rel=0.01)  # the first layer's input needs no gradient


def test_the_naive_predictor_takes_the_median_utilization_of_other_sources(rows: list[Scored]) -> None:
    steps = [one for one in rows if one.step and one.step.source in ("megatron-2021", "bloom") and class_of(one)][:40]
    own = steps[0].step
    assert own is not None
    share = hardware_utilization(own)
    assert share is not None
    twice = replace(own, measured_step_time_s=2 * (own.measured_step_time_s or 0), source="other")
    alone = [replace(steps[0], step=own), replace(steps[0], step=twice)]
    first, second = missed_naively(alone)
    assert first.log_ratio == pytest.approx(math.log(0.5))
    assert second.log_ratio == pytest.approx(math.log(2))
