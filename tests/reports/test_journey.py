"""The journey: many records in one table, the same from the run that made them and from the records alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.draft import Draft, write
from bench.records.proof import Proof
from bench.records.record import Measurement, read_folder
from bench.runs import suites
from bench.runs.suites import Suite, SuiteRun, estimate_only
from estimators.errors import BadRecordError
from reports.render import RENDERERS
from reports.summary import details, num_failed, tables
from tests.support.changed_records import extrapolated
from tests.support.tiny_models import record

TASKS = ("generate", "decode", "prefill", "train")


def save(made: Measurement, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{made.run_id}.json"
    write(made, path)
    return path


def rows_of(*records: Measurement) -> list[dict[str, Any]]:
    (table,) = tables(records)
    return [dict(row) for row in table.rows]


TINY_SUITE = Suite(
    help="linear regressions, really trained, and one model by estimate",
    runs=(SuiteRun("linreg-7d"), SuiteRun("linreg-1d")),
    estimated=(("gpt-3-175b", 300 * 10**9),),
)


@pytest.fixture(scope="module")
def suite_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A suite run once for each format; its records stay."""
    from bench.workloads.article import task as article_task

    folder = tmp_path_factory.mktemp("suite")
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(suites.SUITES, "tiny", TINY_SUITE)
        patch.setattr(article_task, "add_ceilings", lambda draft, *_, **__: draft.ceilings.extend(record("train").ceilings))
        patch.setattr(article_task, "add_observer_cost", lambda *_: None)
        for style in ("text", "csv", "json", "md"):
            out, printed = folder / style, folder / f"{style}.printed"
            argv = ["run", "--suite", "tiny", "--epochs", "3", "--format", style, "--out", str(out), "--output", str(printed)]
            found[style] = (main(argv), out, printed.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("style", ["text", "csv", "json", "md"])
def test_report_prints_from_the_records_what_the_suite_printed(
    style: str, suite_runs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, printed = suite_runs[style]
    assert code == 0
    assert main(["report", str(out), "--format", style]) == code
    assert capsys.readouterr().out == printed


def test_the_suites_table_goes_from_the_smallest_model_to_the_largest(suite_runs: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(suite_runs["csv"][2])))
    assert [row["model"] for row in rows] == ["linreg-1d", "linreg-7d", "gpt-3-175b"]
    assert [row["params"] for row in rows] == ["2", "8", "174604259328"]
    assert [row["tag"] for row in rows] == ["measured", "measured", "estimated"]
    # 300 billion tokens at 2,048 each: 6·N·D and the attention square. Brown et al. 2020, table D.1, say 3.14e23
    assert float(rows[2]["flop"]) == pytest.approx(3.14e23, rel=0.04)
    # at the scripted ceiling of 1 TFLOP/s
    assert float(rows[2]["time_s"]) == pytest.approx(float(rows[2]["flop"]) / 1e12)


def test_json_holds_raw_values_with_their_units_in_the_names(suite_runs: dict[str, Any]) -> None:
    body = json.loads(suite_runs["json"][2])
    first = body["rows"][0]
    assert (first["model"], first["params"], first["status"], first["weights"]) == (
        "linreg-1d",
        2,
        "complete",
        "trained from random weights",
    )
    assert isinstance(first["time_s"], float)
    assert first["train_loss"] > 0


def test_a_row_says_what_was_timed_of_which_size() -> None:
    assert [row["what"] for row in rows_of(*(record(task) for task in TASKS))] == [
        "decode step",
        "generation of 5 tokens",
        "prefill of 8 tokens",
        "training step, batch 1",
    ]


@pytest.mark.parametrize(
    ("task", "seconds", "items_per_s"), [("generate", 6.0, 5 / 6), ("decode", 1.0, 1), ("prefill", 1.0, 8), ("train", 1.0, 8)]
)
def test_time_and_rate_are_those_of_the_main_phase(task: str, seconds: float, items_per_s: float) -> None:
    (row,) = rows_of(record(task))
    assert (row["time_s"], row["tag"]) == (seconds, "measured")
    assert row["items_per_s"] == pytest.approx(items_per_s)
    assert row["checks"].endswith(" ok")


def test_a_run_from_slices_is_labelled_extrapolated() -> None:
    line = extrapolated(phase="train_step", per_layer_s=1.0, value_s=4.0)
    (row,) = rows_of(record("train", phases=(), extrapolation=line))
    assert (row["time_s"], row["tag"], row["items_per_s"]) == (4.0, "extrapolated", 2.0)
    # the share of the ceiling is that of the whole model in the extrapolated time
    assert row["matmul_ceiling_fraction"] == record("train").estimate.phases["train_step"].flop.full / 4.0 / 1e12


def stopped(tmp_path: Path, status: str, reason: str) -> Measurement:
    """As a run leaves it that was stopped before anything was decided."""
    draft = Draft(model="phi-2", task="generate", request=Asked(model="phi-2", task="generate"), out=tmp_path / "other")
    return draft.measurement(status, reason)


@pytest.mark.parametrize(("status", "reason"), [("partial", "interrupted by the user"), ("failed", "out of memory")])
def test_runs_that_did_not_end_are_listed_with_their_reason(
    status: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for made in (record("train"), stopped(tmp_path, status, reason)):
        save(made, tmp_path / "runs")
    for style in RENDERERS:
        assert main(["report", str(tmp_path / "runs"), "--format", style]) == 1
        out = capsys.readouterr().out
        assert "phi-2" in out
        assert reason in out
        assert "tiny-gpt2" in out


def test_a_run_that_was_stopped_early_claims_no_figure(tmp_path: Path) -> None:
    (row,) = rows_of(stopped(tmp_path, "partial", "interrupted by the user"))
    assert row["what"] == "generation"
    assert {row.get(figure) for figure in ("params", "flop", "time_s", "items_per_s", "mfu_fraction")} == {None}
    assert row["checks"].endswith("FAILED")


def test_broken_files_are_named_and_hide_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(record("train"), tmp_path / "runs")
    main(["report", str(tmp_path / "runs"), "-v"])
    alone = capsys.readouterr().out
    (tmp_path / "runs" / "cut.json").write_text('{"run_id": "x", "sta')
    (tmp_path / "runs" / "other.json").write_text("[]")
    assert main(["report", str(tmp_path / "runs"), "-v"]) == 0
    out, err = capsys.readouterr()
    assert out == alone
    first, second = err.splitlines()
    assert first.startswith("warning: ")
    assert "cut.json" in first
    assert "other.json" in second


def test_a_failed_check_is_named_below_the_table_and_counts(tmp_path: Path) -> None:
    bad = record("train", proof=record("train").proof | Proof(loss_last=9.0))
    (table,) = tables([bad, record("decode")])
    assert [row["checks"] for row in table.rows].count("1 FAILED") == 1
    assert "tiny-gpt2: FAILED loss is finite and falls: see its record" in table.notes
    assert num_failed([bad, record("decode")]) == 1


def test_times_of_two_methods_never_stand_in_one_column() -> None:
    with pytest.raises(
        BadRecordError, match=r"the times of .*train.* \(method 1\) and .*decode.* \(method 2\) were taken by different methods"
    ):
        tables([record("train"), record("decode", timing_method=2)])


@pytest.mark.parametrize(
    "damage",
    [
        {"request": {}},
        {"request": {"model": "x"}},
        {"request": {"model": "x", "task": "unheard of"}},
        {"estimate": {"params": "many"}},
        {"estimate": {"params": 1, "phases": {"train_step": {}}}},
        {"estimate": {"params": 1, "rules": [{}]}},
        {"estimate": {"params": 1, "phases": 3}},
        {"environment": {"device": "a toaster"}},
        {"extrapolation": {"value_s": 3.0}},
    ],
    ids=str,
)
@pytest.mark.parametrize("of", ["folder", "file"])
def test_a_record_that_was_changed_by_hand_is_one_line(
    damage: dict[str, Any], of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(dataclasses.replace(record("train"), **damage), tmp_path / "runs")
    assert main(["report", str(path.parent if of == "folder" else path), "-v"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert f"{path.name}' is damaged at {next(iter(damage))}." in line


def test_conditions_name_the_weights_and_dtypes_of_all() -> None:
    (table,) = tables([record("train"), record("decode", request=record("decode").request.replaced(dtype="bf16"))])
    assert "weights: random weights" in table.conditions
    assert "dtype: bf16 (tiny-gpt2); fp32 (tiny-gpt2)" in table.conditions  # in the order of the rows


def test_one_record_alone_prints_all_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(record("generate"), tmp_path / "runs")
    assert main(["report", str(path), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["generation_s"] == 6.0
    assert body["params"] == record("generate").estimate.params
    assert {"counts", "prefill_rules", "decode_rules", "time", "parts", "checks"} <= body.keys()
    shares = [row["share_fraction"] for row in body["parts"]["rows"]]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


def test_an_estimated_record_says_what_it_rests_on(tmp_path: Path) -> None:
    made = estimate_only("gpt-3-175b", 300 * 10**9, [], tmp_path)
    (table,) = details(made)
    assert any("no rate was measured" in note for note in table.notes)
    assert any("1,024 x" in note for note in table.notes)
    assert table.rows[0].get("time_s") is None
    assert read_folder(tmp_path)[0] == [made]


def test_a_suite_names_what_it_had_to_leave_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = Suite(help="", runs=(SuiteRun("linreg-1d"),), estimated=(("gpt-3-175b", 10**9),))
    monkeypatch.setitem(suites.SUITES, "refused", suite)
    assert main(["run", "--suite", "refused", "--num-beams", "3", "--out", str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    assert "gpt-3-175b" in out
    assert (tmp_path / "runs" / "refused.html").read_text(encoding="utf-8").count("<section") == 1
    assert "linreg-1d was left out: --num-beams has no meaning" in err
    assert err.splitlines()[-2].startswith("error: linreg-1d: ")
