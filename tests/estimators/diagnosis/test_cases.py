"""The labelled cases that ship, and their marks; published runs with a slip; a table of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.errors import BadValueError
from estimators.facts.causes import causes
from estimators.validation.diagnosis_mutations import mutated
from estimators.validation.diagnosis_mutations import score_of as mutation_score
from estimators.validation.diagnosis_rows import observed_of
from estimators.validation.diagnosis_score import diagnosed, score_of
from estimators.validation.table import DIAGNOSIS_COLUMNS, Record, read_table, shipped_diagnoses


def test_the_marks_of_the_labelled_cases_are_reached() -> None:
    rows = [diagnosed(record) for record in read_table(shipped_diagnoses())]
    score = score_of(rows)
    assert score.rows == 54
    assert score.verdict is not None
    assert score.verdict >= 0.9
    assert score.cause is not None
    assert score.cause >= 0.75
    assert score.value is not None
    assert score.value >= 0.9
    assert score.normal_missed <= score.normal / 15
    assert score.unknown == score.unknown_named
    assert {row.record.text("right_cause") for row in rows} <= set(causes())


def test_published_runs_are_normal_and_a_slip_in_one_is_named_first() -> None:
    score = mutation_score(mutated(every=25))
    assert score.normal >= 0.9
    assert score.large[True][1] >= 0.9
    assert score.small[True][1] >= 0.6


def test_a_label_changes_no_answer(tmp_path: Path) -> None:
    """Every row without its label's columns, `right_unit` too: the same verdicts and causes."""
    import csv

    with open(shipped_diagnoses(), encoding="utf-8") as stream:
        rows = [{name: row[name] for name in DIAGNOSIS_COLUMNS} for row in csv.DictReader(stream)][:12]
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, DIAGNOSIS_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    mine, ours = ([diagnosed(record) for record in read_table(str(name))[:12]] for name in (path, shipped_diagnoses()))
    assert [(row.verdict, row.causes) for row in mine] == [(row.verdict, row.causes) for row in ours]


@pytest.mark.parametrize(
    ("batch", "layout", "expected"),
    [
        ("mbs 2, gas 4", "zero-3", {"micro_batch": 2, "accumulation": 4, "zero": 3}),
        ("12 x accumulation 5 x 8 GPUs", "ddp", {"micro_batch": 12, "accumulation": 5, "zero": 0}),
        ("total batch 524,288 tokens", "tp2 pp4", {"global_batch": 512, "tp": 2, "pp": 4}),
        ("per-device batch 8, accumulation of 4", "DeepSpeed ZeRO 2", {"micro_batch": 8, "accumulation": 4, "zero": 2}),
        ("gbs 128, 100 steps", "tp=8,pp=2", {"global_batch": 128, "tp": 8, "pp": 2}),
    ],
)
def test_batches_and_layouts_are_read_as_people_write_them(batch: str, layout: str, expected: dict[str, int]) -> None:
    cells = {"quantity": "step_time", "value": "1", "num_gpus": "8", "seq_len": "1024", "batch": batch, "layout": layout}
    setting = observed_of(Record(kind="diagnosis", line=2, path="", cells=cells)).setting
    names = ("micro_batch", "accumulation", "global_batch", "tp", "pp", "cp", "ep", "dp", "zero")
    assert {name: getattr(setting, name) for name in names if getattr(setting, name) is not None} == expected


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({"quantity": "speed", "value": "3"}, "quantity is 'speed'; expected one of"),
        ({"quantity": "mfu", "value": "nan"}, "value is 'nan'; expected a number above 0"),
        ({"quantity": "mfu", "value": "0,5"}, "value is '0,5'; expected a number above 0"),
        ({"quantity": "mfu", "value": "0.5", "num_gpus": "-1"}, "num_gpus is '-1'; expected a number from 0"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(cells: dict[str, str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        ",".join(DIAGNOSIS_COLUMNS) + "\n" + ",".join(f'"{cells.get(name, "")}"' for name in DIAGNOSIS_COLUMNS) + "\n", encoding="utf-8"
    )
    (record,) = read_table(str(path))
    assert complaint in diagnosed(record).skipped_reason


def test_a_table_that_lacks_a_column_is_told_which(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",".join(name for name in DIAGNOSIS_COLUMNS if name != "scope") + "\n", encoding="utf-8")
    with pytest.raises(BadValueError, match="lacks the columns scope of a diagnosis table"):
        read_table(str(path))
