"""`run`: the answer on stdout, what happens on stderr, and one line for every wrong request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import names
from bench.cli.main import main
from bench.records import draft
from bench.records.draft import write
from bench.records.learning import CurvePoint, Learning
from bench.records.record import read_folder
from tests.support.checkout import ROOT
from tests.support.tiny_models import config, write_config
from tests.support.tiny_models import record as tiny_record

QUICK = ["--seq-len", "8", "--steps", "2"]


def complaint(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a refused run: exit 2, nothing on stdout, nothing written."""
    before = sorted(tmp_path.rglob("*"))
    code = main(["run", *argv, *([] if "--out" in argv else ["--out", str(tmp_path / "runs")])])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("· ")]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert sorted(tmp_path.rglob("*")) == before
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 500
    return lines[0]


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    return str(write_config(tmp_path / "tiny-phi", "phi"))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "one of the arguments --model --config --suite is required"),
        (["--model", "phi-2", "--suite", "article"], "not allowed with argument"),
        (["--model", "phi-33"], "unknown model 'phi-33'; did you mean"),
        (["--suite", "artcle"], "unknown suite 'artcle'; did you mean 'article'? List them with: python -m bench list suites"),
        (["--model", "phi-2", "--task", "trian"], "unknown task 'trian'; did you mean 'train'? List them with: python -m bench list tasks"),
        (["--model", "phi-2", "--attn", "flesh"], "attention 'flesh' is unknown; expected eager, sdpa or flash_attention_2"),
        (["--model", "phi-2", "--dtype", "bf61"], "cannot compute in dtype 'bf61'; expected one of: fp32, bf16, fp16"),
        (["--model", "phi-2", "--dtype", "fp64"], "cannot compute in dtype 'fp64'"),
        (["--model", "gpt2", "--task", "train", "--dtype", "fp16", "--device", "cpu"], "dtype fp16 needs a GPU to train"),
        (["--model", "phi-2", "--device", "gpu"], "device 'gpu' is unknown; expected cpu, cuda, cuda:N or mps"),
        (["--model", "phi-2", "--device", "cpu:1"], "device 'cpu:1' is unknown"),
        (["--model", "phi-2", "--layers", "1", "--task", "train"], "--layers 1 is out of range; expected 2 to 32"),
        (["--model", "phi-2", "--layers", "33", "--task", "train"], "--layers 33 is out of range; expected 2 to 32"),
        (
            ["--model", "phi-2", "--layers", "4"],
            "--layers has no meaning for --task generate; leave it out, or use --task prefill or decode",
        ),
        (
            ["--model", "gpt2", "--task", "prefill", "--seq-len", "1025"],
            "1025 prompt and 0 new tokens are more than the 1024 positions of gpt2",
        ),
        (["--model", "gpt2", "--seq-len", "1000", "--new-tokens", "25"], "more than the 1024 positions of gpt2; shorten --seq-len or"),
        (["--model", "gpt2", "--task", "train", "--seq-len", "1"], "--seq-len 1 leaves no next token to learn; expected 2 or more"),
        (["--model", "gpt2", "--task", "decode", "--new-tokens", "1"], "--new-tokens 1 leaves no decode step"),
        (["--model", "gpt2", "--batch", "0"], "batch '0' is out of range; expected a whole number from 1"),
        (["--model", "gpt2", "--seq-len", "0"], "seq-len '0' is out of range"),
        (["--model", "gpt2", "--new-tokens", "0"], "new-tokens '0' is out of range"),
        (["--model", "gpt2", "--num-beams", "0"], "num-beams '0' is out of range"),
        (["--model", "gpt2", "--steps", "0"], "steps '0' is out of range"),
        (["--model", "gpt2", "--layers", "0"], "layers '0' is out of range"),
        (["--model", "gpt2", "--max-time", "0"], "max-time '0' is out of range; expected a number above 0"),
        (["--model", "gpt2", "--max-time", "nan"], "max-time 'nan' is out of range"),
        (["--model", "gpt2", "--batch", "-3"], "batch '-3' is out of range"),
        (["--model", "gpt2", "--batch", "1.5"], "batch '1.5' is not a whole number"),
        (["--model", "gpt2", "--batch", "1e30"], "batch '1e30' is out of range"),
        (
            ["--model", "gpt2", "--batch", "1M", "--num-beams", "5"],
            "batch 1000000 with 5 beams is out of range; expected 1 to 1,048,576 rows",
        ),
        (["--model", "gpt2", "--seed", "-1"], "seed '-1' is out of range"),
        (["--model", "gpt2", "--weights", "/none/such"], "no checkpoint folder '/none/such'"),
        (["--model", "gpt2", "--weights", ""], "holds no *.safetensors"),
        (["--model", "gpt2", "--task", "prefill", "--num-beams", "5"], "--num-beams has no meaning for --task prefill"),
        (["--model", "gpt2", "--task", "train", "--new-tokens", "5"], "--new-tokens has no meaning for --task train; leave it out"),
        (["--model", "gpt2", "--recompute", "full"], "--recompute has no meaning for --task generate"),
        (["--model", "gpt2", "--neurons", "5"], "--neurons is for the article's models and has no meaning for gpt2"),
        (["--model", "gpt2", "--data", "views.csv"], "--data is for the article's models"),
        (
            ["--model", "gpt2", "--learning-rate", "0.1"],
            "--learning-rate has no meaning for --task generate; leave it out, or use --task train",
        ),
        (["--model", "gpt2", "--prompt", "x", "--seq-len", "9"], "--prompt has a length of its own"),
        (["--model", "gpt2", "--prompt", " "], "--prompt is empty"),
        (["--model", "linreg-1d", "--task", "generate"], "linreg-1d has no generate task"),
        (["--config", "/none/such.json"], "no config file at '/none/such.json'"),
    ],
)
def test_a_wrong_request_is_one_line_and_nothing_is_written(
    argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in complaint(argv, tmp_path, capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("model", ["phi-2", "mlp", "linreg-1d"])
def test_cuda_where_there_is_none_is_one_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(["--model", model, "--device", "cuda"], tmp_path, capsys)
    assert "no CUDA" in said
    assert "run with --device cpu" in said


def test_an_attention_that_is_not_installed_is_one_line(tiny: str, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(["--config", tiny, "--attn", "flash_attention_2", "--task", "prefill"], tmp_path, capsys)
    assert "transformers cannot build 'phi' with flash_attention_2 attention" in said


HOSTILE: dict[str, Any] = {
    "negative": {"hidden_size": -32},
    "zero": {"num_hidden_layers": 0},
    "huge": {"vocab_size": 10**30},
    "text": {"num_attention_heads": "four"},
    "heads that do not divide": {"num_attention_heads": 5},
    "no type": {"model_type": None},
    "unknown type": {"model_type": "perceptron"},
    "not a number": {"hidden_size": float("nan")},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_configuration_is_one_line(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path / "hostile", "phi", **HOSTILE[what])
    assert "hostile" in complaint(["--config", str(path)], tmp_path, capsys)


@pytest.mark.parametrize("text", ["", "{", '{"model_type": ', "[1, 2]", "[" * 100_000, "\x00", "9" * 5000])
def test_a_file_that_is_no_configuration_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(text)
    complaint(["--config", str(tmp_path / "config.json")], tmp_path, capsys)


@pytest.mark.parametrize(
    "odd",
    [
        {"hidden_act": "no such function"},
        {"rope_parameters": {"rope_type": "no such kind"}},
        {"rope_parameters": "text"},
        {"rms_norm_eps": "small"},
        {"pad_token_id": 5000},
        {"layer_types": ["no such kind"]},
    ],
    ids=str,
)
def test_fields_that_only_transformers_reads_are_refused_in_one_line(
    odd: dict[str, Any], tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path / "odd", "llama", **odd)
    assert "transformers" in complaint(["--config", str(path), "--task", "prefill", "--device", "cpu"], tmp_path, capsys)


def test_an_activation_function_that_is_no_word_is_refused(tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path / "odd", "llama", hidden_act=3)
    said = complaint(["--config", str(path), "--task", "prefill", "--device", "cpu"], tmp_path, capsys)
    assert "hidden_act is '3'; expected a word, such as silu" in said


@pytest.mark.usefixtures("quick")
class TestOutputFolder:
    def test_a_file_in_its_place(self, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").touch()
        said = complaint(["--config", tiny, "--out", str(tmp_path / "file" / "runs")], tmp_path, capsys)
        assert "Not a directory; name a writable folder with --out" in said

    def test_a_read_only_one(self, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        def refuse(**_: object) -> None:
            raise OSError(30, "Read-only file system")

        (tmp_path / "runs").mkdir()
        monkeypatch.setattr(draft.tempfile, "NamedTemporaryFile", refuse)
        said = complaint(["--config", tiny], tmp_path, capsys)
        assert "Read-only file system; name a writable folder with --out" in said

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
    def test_one_that_nobody_can_write(self, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "cannot write records to '/proc/runs'" in complaint(["--config", tiny, "--out", "/proc/runs"], tmp_path, capsys)


class TestAnswer:
    @pytest.mark.parametrize("task", ["generate", "decode", "prefill", "train"])
    def test_every_format_says_that_the_weights_are_random_and_which_model_it_was(
        self, task: str, tiny: str, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", "--config", tiny, "--task", task, "--out", str(tmp_path / "runs"), "-v", *QUICK]) == 0
        out, err = capsys.readouterr()
        assert "random weights" in out
        assert "8 random token ids stand in for text" in out
        assert all(line.startswith("· ") for line in err.splitlines())
        ((record,), _) = read_folder(tmp_path / "runs")
        assert err.splitlines()[-1] == f"· record: {tmp_path / 'runs' / record.run_id}.json"
        for style in ("text", "md", "csv", "json", "latex", "html"):
            assert main(["report", str(tmp_path / "runs" / f"{record.run_id}.json"), "-v", "--format", style]) == 0
            again = capsys.readouterr().out
            assert "random weights" in again
            assert "tiny-phi" in again
            if style == "text":
                assert again == out

    def test_json_answers_at_top_level_in_base_units(
        self, tiny: str, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = ["run", "--config", tiny, "--task", "train", "--out", str(tmp_path / "runs"), "--format", "json", *QUICK]
        assert main(argv) == 0
        body = json.loads(capsys.readouterr().out)
        ((record,), _) = read_folder(tmp_path / "runs")
        assert (body["run_id"], body["status"], body["weights"]) == (record.run_id, "complete", "random weights")
        assert body["params"] == record.estimate.params
        assert body["train_step_flop"] == record.estimate.phases["train_step"].flop.full
        phase = record.phase("train_step")
        assert phase is not None
        assert min(phase.samples_s) <= body["train_step_s"] <= max(phase.samples_s)
        assert body["tokens_per_s"] == pytest.approx(8 / body["train_step_s"])
        assert body["unavailable"]["torch_allocated"] == "torch's allocator keeps no peak on cpu"
        assert body["checks"]["checks_failed"] == 0

    def test_a_failed_check_is_shown_and_exits_1(
        self, tiny: str, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: None)
        assert main(["run", "--config", tiny, "--task", "train", "--out", str(tmp_path / "runs"), "-v", *QUICK]) == 1
        out = capsys.readouterr().out
        assert "2 failed" in out
        assert out.count("FAILED") == 2

    @pytest.mark.parametrize("name", ["microsoft/philosopher-2.0-large", "philosopher-2.0-large"])
    def test_the_articles_name_is_accepted_with_one_line(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = []
        from bench.runs import measure

        def stop(request: Any, **_: object) -> None:
            asked.append((request.model, request.task))
            raise KeyboardInterrupt

        monkeypatch.setattr(measure, "measure", stop)
        assert main(["run", "--model", name, "--out", str(tmp_path / "runs")]) == 130
        assert asked == [("phi-2", "generate")]
        note, promise, _ = capsys.readouterr().err.splitlines()
        assert promise.startswith("· phi-2: loading torch")
        assert note.startswith("· the article's name for it: no checkpoint of that name exists")
        assert note.endswith("is microsoft/phi-2")

    def test_two_records_of_one_command_stand_side_by_side(
        self, tiny: str, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            assert main(["run", "--config", tiny, "--task", "prefill", "--out", str(tmp_path / "runs"), *QUICK]) == 0
        assert len(read_folder(tmp_path / "runs")[0]) == 2
        capsys.readouterr()


def test_what_was_learned_stands_beside_simple_guesses_and_the_best_possible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = (CurvePoint(epoch=1, train_loss=0.5, heldout_loss=0.6),)
    learning = Learning(data="synthetic, seed 0", loss_unit="nats", num_train=1000, num_heldout=200, curve=curve)
    learning |= Learning(baseline_losses={"as yesterday": 0.75}, bound_loss=0.25, bound="no model beats it")
    learning |= Learning(heldout_accuracy=0.875, train_loss=0.5, sample="ab\n" * 100)
    made = tiny_record("train", learning=learning)
    write(made, tmp_path / "run.json")
    assert main(["report", str(tmp_path / "run.json"), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert "data: synthetic, seed 0" in body["conditions"]
    learned = body["learned"]
    assert learned["conditions"] == ["data: synthetic, seed 0", "1,000 samples to train, 200 held out", "loss: nats"]
    assert [(row["what"], row["score"], row["tag"]) for row in learned["rows"]] == [
        ("accuracy on held-out data", 0.875, "measured"),
        ("loss on the training data", 0.5, "measured"),
        ("loss of the best possible", 0.25, "derived"),
        ("loss of a simple guess", 0.75, "derived"),
    ]
    assert len(learned["notes"][0]) < 250


def test_what_a_checkpoint_wrote_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tiny_record("generate", learning=Learning(output_text="deep learning is hard")), tmp_path / "run.json")
    assert main(["report", str(tmp_path / "run.json"), "-v"]) == 0
    assert "It wrote: 'deep learning is hard'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "name"),
    [("models/tiny/config.json", "tiny"), ("models/tiny", "tiny"), ("models/own.json", "own")],
)
def test_a_model_without_a_name_is_called_after_its_folder_or_file(path: str, name: str, tmp_path: Path) -> None:
    write_config(tmp_path / "models" / "tiny", "phi")
    (tmp_path / "models" / "own.json").write_text(json.dumps(config("phi")))
    assert names._config_name(str(tmp_path / path)) == name


def test_a_whole_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Nothing scripted: the dtype tried, all routes counted, ceilings measured, steps timed, the record read back."""
    path = write_config(tmp_path / "tiny-mistral", "mistral")
    command = [sys.executable, "-m", "bench", "run", "--config", str(path), "--task", "decode", "--seq-len", "20", "--new-tokens", "9"]
    command += ["--preset", "quick", "-v"]
    environ = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "runs")], cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("· ") for line in done.stderr.splitlines())
    ((record,), problems) = read_folder(tmp_path / "runs")
    assert problems == []
    assert {count.route for count in record.counts} == {"op table", "torch meta", "fvcore x2"}
    assert {ceiling.kind for ceiling in record.ceilings} == {"matmul", "bandwidth"}
    assert record.request.dtype_reason.startswith("measured the faster here for x[1, 32] · W[64, 32]")
    assert record.environment.device.cache_bytes >= 0
    assert "0 failed" in done.stdout
    assert f"{record.estimate.params:,}" in done.stdout


def test_a_waterfall_without_a_calibration_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--model", "linreg-1d", "--device", "cpu", "--waterfall", "--out", str(tmp_path / "runs")]) == 2
    assert "python -m bench calibrate" in capsys.readouterr().err
