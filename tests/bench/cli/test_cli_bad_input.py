"""Every wrong request to a verb that computes is one clear line on stderr, exit 2, nothing on stdout, no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.error_lines import complaint

TRAINING = ["estimate", "--model", "gpt2", "--tokens", "1B"]
ON_A100 = [*TRAINING, "--hardware", "a100-sxm4-80gb"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["estimate", "--model", "gpt-33"], "unknown model 'gpt-33'; did you mean"),
        (["show", "--model", ""], "unknown model ''"),
        (["show", "--model", "../../secrets"], "no config file at '../../secrets'"),
        (["estimate", "--model", "x" * 10_000], "unknown model 'xxx"),
        ([*TRAINING, "--hardware", "h2O0-sxm"], "unknown GPU 'h2O0-sxm'; did you mean"),
        ([*TRAINING, "--hardware", "A1000"], "unknown GPU 'A1000'; did you mean 'a100-pcie-40gb'"),
        (["estimate", "--model", "gpt2", "--dtype", "bf61"], "unknown dtype 'bf61'; expected one of: fp64"),
        ([*ON_A100, "--utilization", "0.4", "--dtype", "fp8"], "a100-sxm4-80gb has no published dense peak for fp8; it has one for"),
        ([*ON_A100, "--convention", "half"], "unknown convention 'half'"),
        (["compare-hardware", "--model", "gpt2", "--tokens", "1B", "--hardware", "a100-sxm4-80gb,a999"], "unknown GPU 'a999'"),
        (["compare-hardware", "--model", "gpt2", "--tokens", "1B", "--hardware", ",,"], "names 0 devices"),
        (
            ["compare-hardware", "--model", "gpt2", "--tokens", "1B", "--hardware", "v100-sxm2-32gb"],
            "no published dense peak for bf16",
        ),
        (["list", "hardware", "--match", "zzz"], "unknown hardware 'zzz'"),
    ],
)
def test_unknown_names(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint(argv, capsys)


@pytest.mark.parametrize("tokens", ["0", "-1", "1e30", "1e-3", "1.5", "NaN", "inf", "many", "", "1B2", "0x10", "1e999999999", "9" * 5000])
def test_tokens_that_are_no_count(tokens: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(["estimate", "--model", "gpt2", f"--tokens={tokens}"], capsys)
    assert "tokens" in line
    assert "expected a whole number from 1 to 1e+24, such as 300B" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--utilization", "0"], "utilization '0' is out of range"),
        (["--utilization", "1.01"], "out of range"),
        (["--utilization", "45"], "out of range; expected a number above 0 to 1"),
        (["--utilization", "nan"], "out of range"),
        (["--utilization=-0.4"], "out of range"),
        (["--utilization", "half"], "is not a number"),
        (["--gpus", "0"], "gpus '0' is out of range"),
        (["--gpus", "1e9"], "out of range"),
        (["--gpus", "1.5"], "not a whole number"),
        (["--price", "0"], "out of range"),
        (["--price", "inf"], "out of range"),
        (["--deadline", "soon"], "deadline 'soon' is not a length of time"),
        (["--deadline", "0d"], "out of range"),
        (["--budget-usd", "0"], "out of range"),
        (["--budget-gpu-days", "-5"], "out of range"),
        (["--seq-len", "0"], "seq-len '0' is out of range"),
        (["--seq-len", "2048"], "a sequence of 2,048 tokens is more than the 1,024 positions that gpt2 has"),
        (["--days", "14"], "--days is a claim about a run: add its --gpus, and its --tokens"),
        (["--batch", "4"], "--batch describes a single step"),
        (["--num-beams", "4"], "--num-beams describes a single step"),
    ],
)
def test_a_training_with_an_impossible_number(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint([*ON_A100, *words], capsys)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([*TRAINING, "--gpus", "8"], "--gpus needs a device: add --hardware"),
        ([*TRAINING, "--deadline", "3d"], "--deadline needs a device"),
        (["estimate", "--model", "gpt2", "--budget-usd", "1M"], "--budget-usd needs a device"),
        (
            ["estimate", "--model", "gpt2", "--hardware", "a100-sxm4-80gb", "--deadline", "3d"],
            "--deadline needs to know how much is trained",
        ),
        (["estimate", "--model", "gpt2", "--gpus", "8"], "--gpus belongs to a training run: add --tokens"),
        (["estimate", "--model", "gpt2", "--utilization", "0.4"], "--utilization belongs to a training run"),
        (["estimate", "--model", "gpt2", "--convention", "6nd"], "--convention 6nd counts whole trainings"),
        (["estimate", "--model", "gpt2", "--num-beams", "5"], "--num-beams belongs to a generation"),
        (["estimate", "--model", "gpt2", "--prompt-tokens", "1000", "--new-tokens", "100"], "pass the 1,024 positions that gpt2 has"),
        (["estimate", "--model", "gpt2", "--new-tokens", "1e9"], "new-tokens '1e9' is out of range"),
        (["estimate", "--model", "mlp", "--prompt-tokens", "5"], "mlp generates nothing"),
        (["estimate", "--model", "mlp", "--seq-len", "5"], "mlp takes single samples, not sequences"),
        (["show", "--model", "mlp", "--phase", "decode"], "--phase decode: mlp does not generate"),
        (["show", "--model", "gpt2", "--batch", "0"], "batch '0' is out of range"),
        (["show", "--model", "gpt2", "--phase", "decode", "--context-len", "1024"], "a sequence of 1,025 tokens is more than the 1,024"),
        (["show", "--model", "gpt2", "--convention", "6nd"], "unknown convention '6nd'"),
    ],
)
def test_options_that_do_not_go_together(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint(argv, capsys)


def test_a_folder_without_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no readable record in" in complaint(["report", str(tmp_path)], capsys)
    assert "no record folder" in complaint(["report", str(tmp_path / "nowhere")], capsys)


@pytest.mark.parametrize("content", ["", "{", '{"run_id": "x"}', "[]", '{"run_id": 1, "status": 2, "request": 3, "format": 99}'])
def test_a_record_that_cannot_be_read(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text(content)
    assert "broken.json" in complaint(["report", str(tmp_path)], capsys)


def test_the_process_itself_complains_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{"a":' * 100_000)
    for words in (["show", "--config", str(tmp_path)], ["estimate", "--model", "gpt-3", "--tokens", "1e30"], ["report", str(tmp_path)]):
        done = subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert done.stdout == ""
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("· ")]
        assert line.startswith("error: ")


H100 = "--hardware h100-sxm5-80gb"
SERVE = "serve llama-3.1-8b --hardware l40s-48gb"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"estimate gpt2 --tokens 1B {H100} --gpus 8 --engine vllm", "--engine describes a single step"),
        ("estimate gpt2 --tokens 1B --reuse 3", "--reuse is of a fine-tuning on a data set"),
        ("estimate gpt2 --group-by-length", "--group-by-length is of a fine-tuning on a data set"),
        ("estimate gpt2 --outlook", "--outlook is of a whole training"),
        (f"estimate gpt2 {H100} --examples 9 --mean-tokens 30 --explain", "--explain has no part in a fine-tuning on a data set"),
        (
            f"estimate gpt2 {H100} --method grpo --examples 9 --mean-tokens 30 --completion-tokens 9 --max-length 9",
            "--max-length has no part",
        ),
        ("estimate vit-base-patch16-224 --images-total 1M --reuse 2", "--reuse is of a fine-tuning on a data set"),
        ("fit --hardware rtx-4090-24gb --menu --batch 3", "--batch has no part in --menu"),
        ("fit --hardware rtx-4090-24gb --menu --method lora", "--method has no part in --menu"),
        ("fit gpt2 --hardware rtx-4090-24gb --largest seq-len --seq-len 64", "--largest seq-len looks for what --seq-len says"),
        (f"{SERVE} --search --users 4", "--users has no part in --search"),
        (f"{SERVE} --prefill-gpus 4", "--prefill-gpus is of a load that is simulated"),
        (f"{SERVE} --simulate 9 --rate 1 --price 3", "--price has no part in one load simulated"),
        ("diagnose gpt2 --tokens-per-s 3 --weights fp8", "--weights is of a served model"),
        ("diagnose gpt2 --samples-per-s 3 --flop-per-sample 3G", "--flop-per-sample is of a network that has no name here"),
        ("diagnose gpt2 --step-time 3s --per gpu", "--per says what a rate is of"),
        ("disclose results/cpu-amd-epyc/check --lora-rank 3", "--lora-rank is of a training in words"),
        ("show gpt2 --seq-len=--", "argument --seq-len: expected a value, not '--'"),
        (f"diagnose gpt2 --per {'a' * 5000}", "invalid choice: 'aaa"),
    ],
)
def test_an_option_that_an_answer_has_no_use_for_is_not_passed_over(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(shlex.split(words), capsys)
    assert said in line
    assert len(line) < 600


@pytest.mark.parametrize(("verb", "said"), [("report", "no readable record in"), ("disclose", "neither a record")])
def test_a_folder_that_goes_while_records_are_looked_for_is_no_fault(
    verb: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """os.scandir of a folder that another program has removed meanwhile: what else is there counts, here nothing."""
    gone, scandir = tmp_path / "gone", os.scandir
    gone.mkdir()

    def racing(path: str | os.PathLike[str] = ".") -> object:
        if os.fspath(path) == str(gone):
            raise FileNotFoundError(2, "No such file or directory", str(gone))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", racing)
    assert said in complaint([verb, str(tmp_path)], capsys)


def test_a_name_that_no_system_can_have_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a" * 20 in complaint(["disclose", "a" * 5000], capsys)
