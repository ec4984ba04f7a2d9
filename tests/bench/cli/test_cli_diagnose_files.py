"""`diagnose FILE` through the command line: where the file stands, what the screen says, what options say over it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from estimators.diagnosis.readers.formats import FORMATS
from tests.support.checkout import ROOT
from tests.support.error_lines import complaint

RUNS = ROOT / "tests/estimators/diagnosis/readers/runs"
SAID = "--hardware h100-sxm5-80gb --gpus 8 --seq-len 4096 --batch 4 --grad-accum 1"
RECORD = next((ROOT / "results/cpu-amd-epyc/suite").glob("*sigmoid-10-train-*.json"))


def answered(capsys: pytest.CaptureFixture[str], words: str, code: int) -> dict[str, Any]:
    assert main([*shlex.split(words), "--format", "json"]) == code
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.mark.parametrize("words", ["{file} --model {model}", "{model} --file {file}", "{model} {file}", "--file={file} --model={model}"])
def test_the_file_stands_where_it_likes(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = answered(capsys, f"diagnose {words.format(file=RUNS / 'nanochat.log', model='llama-3-8b')} {SAID}", 0)
    assert (body["verdict"], body["observed_items_per_s_per_device"]) == ("NORMAL", 8489.0)
    assert body["read"] == "nanochat's log, 1 of 1 lines"


@pytest.mark.parametrize("path", sorted(RUNS.iterdir()), ids=lambda path: path.name)
def test_a_screen_is_a_screen_and_says_what_was_read(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"diagnose {path} --model llama-3-8b {SAID}")) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) <= 30
    assert "read: " in out


def test_a_run_that_became_slower_is_told_from_which_step_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8,489 tokens/s of a GPU, and 18 % less from step 4,000 on."""
    lines = [f"[titan] step: {n}  loss: 2.1  tps: {8489 if n < 4000 else 6961:,}  tflops: 400.00  mfu: 40.00%" for n in range(0, 6000, 10)]
    (tmp_path / "train.log").write_text("\n".join(lines))
    words = f"diagnose {tmp_path}/train.log --model llama-3-8b --hardware h100-sxm5-80gb --gpus 8 --seq-len 4096"
    (change,) = answered(capsys, words, 1)["changes"]
    assert (change["step"], round(change["speed_ratio"], 2)) == (4000, 0.82)
    main(shlex.split(words))
    assert "from step 4,000 on 18 % slower" in " ".join(capsys.readouterr().out.split())


def test_a_record_of_this_tool_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    """The median of its samples: 64 samples of a regression over it."""
    from statistics import median

    record = json.loads(RECORD.read_text(encoding="utf-8"))
    (step,) = [phase for phase in record["phases"] if phase["name"] == "train_step"]
    body = answered(capsys, f"diagnose {RECORD}", 1)
    assert body["verdict"] == "UNKNOWN"
    assert body["observed_items_per_s_per_device"] == pytest.approx(step["items_per_sample"] / median(step["samples_s"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("diagnose nothing.log", "cannot read 'nothing.log': No such file"),
        (f"diagnose {ROOT}/LICENSE", "holds nothing that is known of a training"),
        (f"diagnose {RUNS}/tqdm.log {RUNS}/nanogpt.log", "is not valid JSON (line 1); expected a Hugging Face config.json"),
    ],
)
def test_a_wrong_file_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint(shlex.split(words), capsys)


def test_every_format_is_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "run-files", "--format", "json"]) == 0
    assert [row["format"] for row in json.loads(capsys.readouterr().out)["rows"]] == list(FORMATS)
    assert all(form.key and form.says for form in FORMATS.values())


def test_a_folder_in_place_of_a_file_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: cannot read {str(tmp_path)!r}: it is a folder\n"
