"""`validate`: the score through the command line, for the shipped tables and for one's own."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from estimators.validation.table import DIAGNOSIS_COLUMNS, THROUGHPUT_COLUMNS, shipped, shipped_diagnoses, shipped_serving, shipped_tuning


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["validate", *words, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_every_shipped_row_is_there_with_its_prediction_or_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    body = answer(capsys)
    tuned = {row["id"] for row in body["rows"] if row["id"].startswith("F")}
    assert body["summary"]["rows"] == len({row["id"] for row in body["rows"]} - tuned) == 1611
    assert len(tuned) == 715
    assert sum(row["quantity"] == "memory_bytes" for row in body["rows"]) == 22 + 715
    for row in body["rows"]:
        assert row["skipped"] or 0 < row["low"] <= row["predicted"] <= row["high"], row["id"]
        assert row["skipped"] or row["measured"] > 0
    assert body["summary"]["scored"] == sum(row["counts"] for row in body["rows"] if row["quantity"] == "step_time_s")
    assert {row["group"] for row in body["source"]["rows"]} >= {"vtrain", "bloom", "llm-foundry"}


def test_the_summary_is_computed_from_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    body = answer(capsys)
    counted = [row for row in body["rows"] if row["counts"] and row["quantity"] == "step_time_s"]
    errors = sorted(abs(row["predicted"] / row["measured"] - 1) for row in counted)
    assert body["summary"]["median_error"] == pytest.approx(errors[len(errors) // 2], rel=0.02)
    held = [row["low"] <= row["measured"] <= row["high"] for row in counted]
    assert body["summary"]["coverage"] == pytest.approx(sum(held) / len(held))


def test_rows_of_one_s_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = Path(shipped()["single_node"]).read_text(encoding="utf-8").splitlines()
    mine = tmp_path / "mine.csv"
    mine.write_text("\n".join(lines[:4]) + "\n", encoding="utf-8")
    body = answer(capsys, "--rows", str(mine))
    assert [row["id"] for row in body["rows"]] == [line.split(",")[0] for line in lines[1:4]]


def test_a_table_in_which_nothing_can_be_scored_exits_with_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    header = Path(shipped()["single_node"]).read_text(encoding="utf-8").splitlines()[0]
    mine = tmp_path / "mine.csv"
    mine.write_text(f"{header}\nmine,8,32,4,1024,16,24,1024,3,2,2,220\n", encoding="utf-8")
    body = answer(capsys, "--rows", str(mine), code=1)
    assert body["rows"][0]["skipped"] == "tp x pp x cp = 6 does not divide the 8 devices"


def test_rows_are_skipped_and_counted_and_the_others_scored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A rank that nothing says, a blank count, text in a number, a precision nobody knows: four lines of a table of one's own."""
    with open(shipped()["throughput"], encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    good = next(row for row in rows if row["id"] == "T0001")
    bad = [{"model": "Llama [LoRA]"}, {"n_gpus": ""}, {"layers": "eighty"}, {"precision": "int5"}, {"hardware_id": "h900"}]
    mine = tmp_path / "mine.csv"
    with open(mine, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, good)
        writer.writeheader()
        writer.writerows([*(good | change | {"id": f"bad {i}"} for i, change in enumerate(bad)), good])
    body = answer(capsys, "--rows", str(mine))
    *skipped, scored = body["rows"]
    assert [row["skipped"].split("; expected")[0].split(". List")[0] for row in skipped] == [
        "an adapter without a rank",
        "n_gpus is ''",
        "layers is 'eighty'",
        "precision 'int5' is unknown",
        "unknown GPU 'h900'",
    ]
    assert scored["measured"] == pytest.approx(4096 * 2048 / (1007 * 512))
    assert (scored["skipped"], body["left_out"]["rows"][0]["rows"]) == (None, 1)


def test_strict_leaves_out_what_rules_completed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    header = ",".join(THROUGHPUT_COLUMNS)
    cells = dict.fromkeys(THROUGHPUT_COLUMNS, "") | {
        "id": "mine",
        "group": "my cluster",
        "model": "llama-3-8b",
        "seq_len": "8192",
        "hardware_id": "h100-sxm5-80gb",
        "n_gpus": "8",
        "mbs": "1",
        "precision": "bf16",
        "recompute": "none",
        "iteration_time_s": "1.5",
    }
    mine = tmp_path / "mine.csv"
    mine.write_text(f"{header},framework\n{','.join(cells.values())},torchtitan\n", encoding="utf-8")
    (row,) = answer(capsys, "--rows", str(mine))["rows"]
    assert row["layout"].startswith("dp=8,zero=3,micro_batch=1")
    for cell in ("stack=", "layers=those of llama-3-8b", "tp=1, pp=1", "gbs_seqs=mbs x dp"):
        assert cell in row["assumed"]
    (row,) = answer(capsys, "--rows", str(mine), "--strict", code=1)["rows"]
    assert row["skipped"].startswith("completed by a rule, and --strict was given: stack=")


def test_a_bad_file_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["validate", "--rows", str(tmp_path / "none.csv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_picture_is_the_same_bytes_every_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        assert main(["validate", "--plot", str(path)]) == 0
    text = first.read_text(encoding="utf-8")
    assert text == second.read_text(encoding="utf-8")
    assert text.count("<use") > 1143


def test_a_picture_without_matplotlib_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["validate", "--plot", str(tmp_path / "a.svg")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: a picture needs matplotlib: .*install '.*\[plots\]'\n", printed.err)
    assert list(tmp_path.iterdir()) == []


def test_measured_memory_is_predicted_within_two_percent(capsys: pytest.CaptureFixture[str]) -> None:
    """SimuMax reaches 0.46 % on its own rows, with a template made for them (docs/b200 of MooreThreads/SimuMax)."""
    memory = answer(capsys)["memory"]
    assert memory["median_error"] <= 0.0046
    assert memory["worst_error"] <= 0.02
    assert memory["distinct"] == len(memory["rows"]) == 10


def test_the_constants_are_listed_with_their_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    body = answer(capsys, "--constants")
    rows = {row["name"]: row for row in body["rows"]}
    assert rows["matmul"]["range"].count(" to ") == 1
    assert rows["odd_head"]["range"] is None


def test_task_fit_scores_memory_kernels_and_steps_of_reinforcement_learning(capsys: pytest.CaptureFixture[str]) -> None:
    body = answer(capsys, "--task", "fit")
    kinds = [row["kind"] for row in body["rows"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {"fine-tuning": 715, "loss kernel": 62, "rollout step": 18}
    for row in body["rows"]:
        assert row["skipped"] or 0 < row["low"] <= row["predicted"] <= row["high"], row["id"]
    assert body["fit_kernels"]["fit_kernels"]["worst_error"] < 0.002
    assert main(["validate", "--task", "fit"]) == 0
    text = capsys.readouterr().out
    assert "Loss kernels: what grows is off by 0.150 % at most over 44 peaks." in text
    assert "7.21 % of one lies outside its phases at most" in text


@pytest.mark.parametrize("table", ["loss_kernels.csv", "rollouts.csv"])
def test_tables_of_kernels_and_of_rollouts_are_read_as_ones_own(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(capsys, "--rows", str(Path(shipped()["single_node"]).with_name(table)))["rows"]
    assert any(row["predicted"] for row in rows)
    assert all(row["predicted"] or row["skipped"] for row in rows)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Some shipped rows of each source of served models."""
    path = tmp_path_factory.mktemp("served") / "served.csv"
    lines = Path(shipped_serving()[0]).read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *lines[1::40]]) + "\n", encoding="utf-8")
    return str(path)


def test_served_models_are_scored_by_figure_source_engine_format_and_device(capsys: pytest.CaptureFixture[str], served: str) -> None:
    body = answer(capsys, "--task", "serve", "--rows", served)
    assert body["serving"]["serving"]["rows"] > 100
    assert {"serving_sources", "serving_engines", "serving_formats", "serving_devices", "serving_left_out"} <= set(body)
    rows = body["rows"]
    assert {"id", "quantity", "predicted", "low", "high", "measured", "skipped", "source", "engine", "weights"} <= set(rows[0])
    scored = [row for row in rows if row["predicted"] is not None]
    assert {row["quantity"] for row in scored} >= {
        "tpot_s",
        "itl_s",
        "ttft_s",
        "generation_s",
        "decode_s",
        "prefill_s",
        "energy_j_per_token",
    }
    assert all(row["low"] <= row["predicted"] <= row["high"] for row in scored)
    assert all(row["skipped"] for row in rows if row["predicted"] is None)


def test_a_table_of_served_models_needs_no_task(capsys: pytest.CaptureFixture[str], served: str) -> None:
    with_task, without = (answer(capsys, *words, "--rows", served)["rows"] for words in (("--task", "serve"), ()))
    assert with_task == without


def test_serving_is_one_screen(capsys: pytest.CaptureFixture[str], served: str) -> None:
    assert main(["validate", "--task", "serve", "--rows", served]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 30
    assert shown[0].startswith("Serving: ")


def test_serving_says_what_tables_are_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--task", "serve", "--rows", shipped_tuning()]) == 2
    assert "none of these files is a table of them" in capsys.readouterr().err


def test_a_row_of_a_speed_that_cannot_be_read_is_named_with_its_reason_and_not_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Two rows of a run's speed, the second of a device count that is no number."""
    head, first, second, *_ = Path(shipped_diagnoses()).read_text(encoding="utf-8").splitlines()
    columns = next(csv.reader([head]))
    rows = [dict(zip(columns, next(csv.reader([line])), strict=True)) for line in (first, second)]
    rows[1]["num_gpus"] = "x"
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, DIAGNOSIS_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert main(["validate", "--rows", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 of 2 rows diagnosed.")
    assert f"{rows[1]['id']} is not read: num_gpus is 'x'" in out


def rows_of_speed(path: Path, *rows: dict[str, str]) -> str:
    """A table of runs whose speed is asked about; what a row does not say is an H100's 3,000 tokens/s."""
    usual = {"hardware_id": "h100-sxm5-80gb", "num_gpus": "1", "quantity": "tokens_per_s", "value": "3000", "unit": "tokens/s"}
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, DIAGNOSIS_COLUMNS)
        writer.writeheader()
        writer.writerows({name: (usual | row).get(name, "") for name in DIAGNOSIS_COLUMNS} for row in rows)
    return str(path)


def test_names_in_a_row_that_mean_nothing_are_said_with_their_column(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = (
        {"id": "a", "registry_model": "no-such"},
        {"id": "b", "model": "foo 9B", "hardware_id": "", "gpu": "X900"},
        {"id": "c", "model": "GPT-2"},
    )
    path = rows_of_speed(tmp_path / "mine.csv", *rows)
    said = [row.get("not_known") for row in answer(capsys, "--rows", path)["rows"]]
    assert said == [
        "registry_model 'no-such' is no model that is known here",
        "model 'foo 9B' is no model that is known here; gpu 'X900' is no device that is known here",
        "",
    ]
    assert main(["validate", "--rows", path]) == 0
    assert f"a: {said[0]}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("task", [(), ("--task", "fit"), ("--task", "serve"), ("--task", "diagnose")])
@pytest.mark.parametrize("columns", [DIAGNOSIS_COLUMNS, THROUGHPUT_COLUMNS])
def test_a_table_without_a_row_is_said_to_be_one(
    columns: tuple[str, ...], task: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",".join(columns) + "\n", encoding="utf-8")
    assert main(["validate", "--rows", str(path), *task]) == 2
    assert capsys.readouterr().err == "error: mine.csv has a header and no rows; expected measured rows below it\n"


def test_tables_that_are_scored_apart_are_not_dropped_in_silence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = rows_of_speed(tmp_path / "mine.csv", {"id": "a"})
    assert main(["validate", "--rows", path, "--rows", shipped_tuning()]) == 2
    assert "--rows has diagnosis tables beside others, which are scored apart" in capsys.readouterr().err
