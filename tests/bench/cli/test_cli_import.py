"""`import`: result files of load generators as records, and what `report` makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.record import read, read_folder
from bench.records.served import kept, result_of
from estimators.serving.results.one_file import read_results
from tests.support.load_results import FOLDER, changed, path_of

FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".jsonl", ".csv", ".md", ".yaml"))
SAID = ["--model", "llama-2-7b", "--hardware", "h100", "--gpus", "1", "--weights", "16-bit", "--engine", "vllm"]


def test_an_imported_run_is_a_record_and_is_shown_again_by_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", path_of("vllm_detailed.json"), *SAID, "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    (path,) = tmp_path.iterdir()
    assert "record: " in err
    assert out.startswith("llama-2-7b at 2 in flight: 51.6 output tokens/s")
    assert main(["report", str(path)]) == 0
    assert capsys.readouterr().out == "".join(line for line in out.splitlines(keepends=True) if not line.startswith("taking "))


def test_the_record_holds_what_the_file_does(tmp_path: Path) -> None:
    for name in FILES:
        folder = tmp_path / name
        assert main(["import", path_of(name), "--out", str(folder), "-q"]) == 0
        records, problems = read_folder(folder)
        assert problems == []
        results = read_results(path_of(name))
        # records of one millisecond lie in no order
        served = sorted((record.proof.served for record in records if record.proof.served), key=repr)
        assert served == sorted((kept(result, name) for result in results), key=repr)
        assert sorted(map(result_of, served), key=repr) == sorted(results, key=repr)


def test_several_runs_of_a_file_are_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", path_of("guidellm.yaml"), *SAID, "--out", str(tmp_path), "--format", "json"]) == 0
    journey = json.loads(capsys.readouterr().out)
    rows = journey["rows"] if isinstance(journey, dict) else journey[0]["rows"]
    assert [row["what"] for row in rows] == ["serving at 1 in flight", "serving at 2 in flight"]
    assert main(["report", str(tmp_path)]) == 0
    assert "2 records" in capsys.readouterr().out


def figures(out: str) -> dict[str, Any]:
    found = json.loads(out)
    return found if isinstance(found, dict) else found[0]


def test_four_rates_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """InferenceX: 4 GPUs of 750 output and 750 prompt tokens/s each, users of 50."""
    assert main(["import", path_of("inferencex_agg.json"), "--out", str(tmp_path), "--format", "json"]) == 0
    said = figures(capsys.readouterr().out)
    assert said["output_per_replica_tokens_per_s"] == 3000
    assert said["output_per_gpu_tokens_per_s"] == 750
    assert said["output_per_user_tokens_per_s"] == 50


def test_a_poisoned_file_is_refused_by_the_rules_name_and_nothing_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zeros = {f"{statistic}_{word}_ms": 0.0 for statistic in ("mean", "median") for word in ("ttft", "tpot", "itl")}
    events = {"mean_ttft_ms": None, "mean_tpot_ms": 9.0, "mean_itl_ms": 4.5, "ttfts": None, "itls": None, "median_tpot_ms": 9.0}
    cases = {
        "zeros for failures": zeros | {"completed": 0, "ttfts": [], "itls": [], "errors": [], "input_lens": [], "output_lens": []},
        "several stream events for a token": events,
        "a step faster than its weights can be read": {"mean_tpot_ms": 0.5, "mean_itl_ms": 0.5, "ttfts": None, "itls": None},
    }
    for rule, values in cases.items():
        path = changed("vllm_detailed.json", tmp_path, **values)
        assert main(["import", path, *SAID, "--out", str(tmp_path / "runs")]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert rule in err.splitlines()[-1]
        assert not (tmp_path / "runs").exists()


def test_a_record_that_was_made_impossible_fails_its_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", path_of("inferencex_fork.json"), *SAID, "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace("0.0078", "0.0008").replace("0.0076", "0.0008"), encoding="utf-8")
    capsys.readouterr()
    assert main(["report", str(path)]) == 1
    assert "FAILED llama-2-7b, no a step faster" in capsys.readouterr().out


def test_what_is_no_result_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    assert main(["import", str(path), "--out", str(tmp_path / "runs")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "expected one of: vllm bench serve" in err


def test_a_model_after_the_file_is_not_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", path_of("vllm.json"), "llama-2-7b"]) == 2
    assert "unexpected 'llama-2-7b'" in capsys.readouterr().err


def test_the_predicted_step_stands_beside_the_measured_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", path_of("inferencex_agg.json"), "--out", str(tmp_path), "-v"]) == 0
    out = capsys.readouterr().out
    assert "A decode step by the model of steps" in out
    assert "Predicted over measured" in out
    (path,) = tmp_path.iterdir()
    assert read(path).request.task == "serve"
