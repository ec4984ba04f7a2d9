"""Measured steps of fine-tuning: how rows are read, that no source vouches for itself, and the marks that the score is held to."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping

import pytest

from estimators.tuning.constants import constants_file, tuning_constants
from estimators.tuning.interval import CLASSES, track_record
from estimators.validation.table import TUNING, LeftOutError, Record, read_table, shipped_tuning
from estimators.validation.tuning_record import MissedStep, calibrated, median, median_of_sources, records
from estimators.validation.tuning_time import ScoredStep, scored_step, source_of, timed_step


@functools.cache
def shipped_rows() -> Mapping[str, Record]:
    return {record.id: record for record in read_table(shipped_tuning())}


@functools.cache
def scored_rows() -> tuple[ScoredStep, ...]:
    return tuple(map(scored_step, shipped_rows().values()))


def changed(row_id: str, **cells: str) -> Record:
    """A shipped row with some cells changed."""
    row = shipped_rows()[row_id]
    return Record(kind=TUNING, line=1, path=row.path, cells={**row.cells, **cells})


FIXED = "F0025"
"""Mistral 7B in full on one A100-80, packed to 4,096 tokens, a micro-batch of 4."""


def test_a_row_of_packed_samples_is_read_as_it_stands() -> None:
    step = timed_step(changed(FIXED))
    assert (step.source, step.kind, step.measured_s, step.assumed) == ("fms-acceleration", "full", 4.7619, ())
    assert (step.job.micro_batch, step.job.seq_len, step.job.checkpointing) == (4, 4096, "full")


def test_a_time_is_told_by_samples_or_tokens_a_second_where_no_step_is_printed() -> None:
    """4 samples a step: at 2 a second two seconds, at 8,192 tokens a second as well."""
    samples = timed_step(changed(FIXED, step_time_s="", samples_per_s="2", tokens_per_s=""))
    tokens = timed_step(changed(FIXED, step_time_s="", samples_per_s="", tokens_per_s="8192"))
    assert samples.measured_s == tokens.measured_s == 2
    with pytest.raises(LeftOutError, match="neither the time of a step nor a rate"):
        timed_step(changed(FIXED, step_time_s="", samples_per_s="", tokens_per_s=""))


def test_rows_of_varying_length_have_the_mean_that_their_rates_imply() -> None:
    step = timed_step(changed(FIXED, seq_kind="variable", samples_per_s="10", tokens_per_s="4420", tokens_scope="per GPU"))
    assert step.job.seq_len == 442
    assert "row length, tokens over samples a second" in step.assumed
    shared = timed_step(
        changed(FIXED, seq_kind="variable", samples_per_s="20", tokens_per_s="4420", tokens_scope="per GPU", n_gpus="2", parallel="ddp")
    )
    assert shared.job.seq_len > 442  # the device with the longest samples decides


def test_real_tokens_are_padded_to_the_longest_of_a_batch_and_less_where_samples_are_grouped() -> None:
    cells = {"seq_kind": "variable, padded", "tokens_per_s": "2100", "samples_per_s": "10", "tokens_scope": "total, real tokens"}
    alone = timed_step(changed(FIXED, micro_batch="1", **cells))
    padded = timed_step(changed(FIXED, **cells))
    grouped = timed_step(changed(FIXED, group="peft method_comparison MetaMathQA", **cells))
    assert alone.job.seq_len == 210
    assert alone.job.seq_len < grouped.job.seq_len < padded.job.seq_len < 2 * 210


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"oom": "1"}, "ran out of memory"),
        ({"hardware_id": ""}, "the device is not stated"),
        ({"seq_kind": "variable", "tokens_per_s": ""}, "how long rows are in the mean is not stated"),
        ({"method": "lisa"}, "method 'lisa' is not covered"),
        ({"parallel": "zero (DeepSpeed)", "n_gpus": "4"}, "the stage of ZeRO is not stated"),
        ({"step_time_s": "soon"}, "step_time_s is 'soon'"),
    ],
)
def test_what_a_row_lacks_is_said(cells: dict[str, str], said: str) -> None:
    assert said in scored_step(changed(FIXED, **cells)).skipped


def test_no_source_vouches_for_itself() -> None:
    """Every source that is scored has constants of its own, which are what its prediction is made with."""
    sources = {row.step.source for row in scored_rows() if row.step}
    assert sources == set(constants_file()["without"])
    row = next(row for row in scored_rows() if row.step and row.step.source == "fsdp-qlora" and "qlora" in row.step.kind)
    assert row.step is not None
    assert tuning_constants("fsdp-qlora") != tuning_constants("litgpt")
    assert row.predicted_s == row.step.predicted(without="fsdp-qlora").step_time_s != row.step.predicted(without="litgpt").step_time_s


def test_the_score_holds_the_marks_of_its_issue() -> None:
    """Median of sources at most 15 %, 5 to 8 % after one measured step; each interval holds 75 % to 85 % blind; the files are fresh."""
    runs = {row.step.run: row.step for row in scored_rows() if row.step}
    found = records(list(runs.values()))
    assert found["all"]["median_error"] <= 0.15
    assert found["calibrated"]["median_error"] <= 0.08
    for name in (*CLASSES, "calibrated"):
        assert 0.75 <= found[name]["coverage"] <= 0.85, name
    kept = track_record()
    assert kept is not None
    assert {"rows": kept.rows, "sources": kept.sources} == {"rows": found["all"]["rows"], "sources": found["all"]["sources"]}


def test_one_measured_step_takes_a_common_factor_away() -> None:
    rows = [MissedStep(source="a", kind="x", log_ratio=value) for value in (0.5, 0.5, 0.6)]
    assert [round(row.log_ratio, 9) for row in calibrated(rows)] == [0, -0.1, 0, -0.1, 0.1, 0.1]
    assert calibrated([MissedStep(source="a", kind="x", log_ratio=0.5), MissedStep(source="a", kind="y", log_ratio=0.5)]) == []


def test_a_source_of_many_rows_is_one_source() -> None:
    rows = [MissedStep(source="a", kind="", log_ratio=0.0)] * 9 + [MissedStep(source=name, kind="", log_ratio=-0.5) for name in "bc"]
    assert median_of_sources(rows) == pytest.approx(0.6487, abs=1e-4)  # e^0.5 - 1
    assert median([1.0, 2.0, 3.0, 4.0]) == 2.5
    assert source_of("litgpt config_hub A10G") == source_of("litgpt resource tables A100-40") == "litgpt"


def test_every_shipped_row_is_compared_or_says_why_not() -> None:
    for row in scored_rows():
        assert (row.predicted_s is None) == bool(row.skipped), row.id
    with open(shipped_tuning(), encoding="utf-8", newline="") as stream:
        assert all(row["source"].startswith(("github:", "arXiv", "http")) for row in csv.DictReader(stream))
