"""Memory of measured fine-tunings: how far off, which verdicts, and that the marks which `fit` prints are those of the rows."""

from __future__ import annotations

import functools

import pytest

from estimators.frozen import replace
from estimators.tuning.fit import INTERVALS
from estimators.validation.score import quantile
from estimators.validation.table import Record, read_table, shipped_tuning
from estimators.validation.tuning_memory import ScoredMemory, interval_factors, score_memory, scored_memory, source_of


@functools.cache
def rows() -> tuple[ScoredMemory, ...]:
    return tuple(scored_memory(record) for record in read_table(shipped_tuning()))


def errors(chosen: list[ScoredMemory]) -> tuple[float, float]:
    """Median and 90th percentile of the absolute errors."""
    absolute = [abs(row.error) for row in chosen if row.error is not None]
    return quantile(absolute, [1.0] * len(absolute), 0.5), quantile(absolute, [1.0] * len(absolute), 0.9)


def test_allocated_memory_on_one_device_is_off_by_less_than_a_percent_in_the_median() -> None:
    median, p90 = errors([row for row in rows() if row.counts and row.case and row.case.job.num_gpus == 1])
    assert median < 0.006
    assert p90 < 0.08


def test_all_allocated_rows_are_off_by_little_more() -> None:
    median, p90 = errors([row for row in rows() if row.counts])
    assert median < 0.006
    assert p90 < 0.05


def test_full_tuning_in_pure_16_bits_is_off_by_a_twentieth_of_a_percent() -> None:
    chosen = [row for row in rows() if row.counts and row.case and row.case.method == "full" and row.case.job.model.name != "santacoder"]
    one = [row for row in chosen if row.case and row.case.job.num_gpus == 1]
    assert len(one) >= 8
    assert all(abs(row.error or 0.0) < 0.0005 for row in one)


def test_no_job_that_ran_out_of_memory_was_called_fits_and_verdicts_are_right() -> None:
    judged = [row for row in rows() if row.is_judged]
    assert sum(row.is_right for row in judged) >= 0.97 * len(judged) > 400
    assert [row.id for row in judged if row.case and row.case.is_oom and row.answer and row.answer.verdict == "FITS"] == []


def test_a_verdict_that_is_wrong_would_be_seen() -> None:
    row = next(row for row in rows() if row.is_judged and row.answer and row.answer.verdict == "FITS")
    assert row.case
    assert not replace(row, case=replace(row.case, is_oom=True)).is_right


def test_intervals_are_those_of_the_rows() -> None:
    for name, several in (("one", False), ("several", True)):
        found = interval_factors(rows(), several=several)
        assert found is not None
        assert INTERVALS[name] == tuple(round(each, 2) for each in found)
    unnamed = interval_factors([replace(row, predicted_bytes=row.unnamed_bytes) for row in rows()], several=False)
    assert unnamed is not None
    assert INTERVALS["assumed"] == (round(unnamed[0], 2), INTERVALS["one"][1])


def test_a_source_has_no_part_in_its_own_interval() -> None:
    assert interval_factors(rows(), several=False, without="litgpt") != interval_factors(rows(), several=False)
    assert interval_factors([row for row in rows() if row.case and source_of(row) == "litgpt"], several=False, without="litgpt") is None


def test_what_is_held_blind_is_held_by_the_other_sources() -> None:
    """By hand: measured over predicted of two sources is 1.0 and 1.0, and 1.0 and 2.0; each one's ends are the other's rows."""
    row = next(row for row in rows() if row.counts and row.case and row.case.job.num_gpus == 1)
    assert row.case
    one, other = (replace(row.case, source=f"source {number}", measured_bytes=100) for number in (1, 2))
    made = [replace(row, case=case, predicted_bytes=size) for case, size in ((one, 100.0), (one, 100.0), (other, 100.0), (other, 50.0))]
    assert score_memory(made[:2], made).blind_coverage == 1.0
    assert score_memory(made[2:], made).blind_coverage == 0.5
    assert score_memory(made[:2], made[:2]).blind_coverage is None


def test_a_source_unlike_the_others_is_seen_to_be_missed() -> None:
    """litgpt's rows alone lie below what every other source says."""
    counted = [row for row in rows() if row.counts and row.case and row.case.job.num_gpus == 1]
    assert score_memory([row for row in counted if source_of(row) == "litgpt"], counted).blind_coverage == 0.0
    assert (score_memory(counted, counted).blind_coverage or 0.0) > 0.8


def test_rows_whose_framework_is_unknown_are_further_off() -> None:
    counted = [row for row in rows() if row.counts]
    unnamed = [abs(row.unnamed_error) for row in counted if row.unnamed_error is not None]
    assert errors(counted)[0] < quantile(unnamed, [1.0] * len(unnamed), 0.5) < 0.10


@pytest.mark.parametrize(
    ("row", "version", "bytes_a_logit"),
    [
        ("F0130", "transformers 4.48.1", 10),  # the caller keeps 16-bit logits beside an fp32 copy and its shifted copy
        ("F0130", "transformers 4.45.2", 8),
        ("F0001", "transformers 4.48.1", 8),  # GPT-BigCode's own loss of 16-bit logits, without autocast
        ("F0001", "transformers 4.52.4", 14),
        ("F0015", "transformers 4.48.1", 6),
    ],
)
def test_the_version_of_transformers_says_what_its_loss_holds(row: str, version: str, bytes_a_logit: int) -> None:
    """ForCausalLMLoss came with 4.46; classes that made their loss in the logits' own dtype took it over by 4.50."""
    record = next(record for record in read_table(shipped_tuning()) if record.id == row)
    found = scored_memory(replace(record, cells={**record.cells, "framework_version": version}))
    assert found.answer
    assert found.case
    logits = next(moment for moment in found.answer.memory.moments if moment.name == "loss").parts["logits"]
    assert logits == bytes_a_logit * found.case.job.micro_batch_tokens * found.case.job.model.vocab  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"method": "vera"}, "method 'vera' is not covered"),
        ({"model": "nobody/nothing-7b", "hf_id": ""}, "does not ship"),
        ({"memory_gib": "", "oom": "0"}, "no memory in the row"),
        ({"micro_batch": ""}, "micro_batch is ''; expected a whole number from 1"),
        ({"memory_meter": "capacity: the row states the longest context"}, "states what fits"),
    ],
)
def test_a_row_that_cannot_be_compared_says_why(cells: dict[str, str], said: str) -> None:
    record: Record = next(record for record in read_table(shipped_tuning()) if record.text("memory_gib"))
    assert said in scored_memory(replace(record, cells={**record.cells, **cells})).skipped
