"""`run --task train --method ...`: a fine-tuning measured, its memory counted, one screen, one record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.records.record import read_folder
from estimators.tuning.countable import COUNTABLE
from tests.support.tiny_models import write_config

QUICK = ["--task", "train", "--seq-len", "8", "--steps", "3", "--device", "cpu"]


def run(folder: Path, *words: str) -> int:
    config = folder / "tiny" / "config.json"
    if not config.exists():
        write_config(folder / "tiny", "llama")
    return main(["run", "--config", str(config), *QUICK, *words, "--out", str(folder / "runs")])


def test_a_full_fine_tuning_is_one_screen_and_its_record_holds_both_sides(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--method", "full", "--batch", "2") == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 30
    assert "full fine-tuning · 45,344 parameters trained · weights in bf16 under autocast to bf16 · adamw_torch_fused" in shown
    ((record,), _) = read_folder(tmp_path / "runs")
    said, held = record.estimate.tuning, record.proof.tuning
    assert said is not None
    assert held is not None
    assert tuple(said.parts_bytes) == tuple(held.parts_bytes) == tuple(COUNTABLE)
    assert said.parts_bytes == held.parts_bytes
    assert (record.request.method, record.request.optimizer, record.request.dtype) == ("full", "adamw_torch_fused", "bf16")
    assert (said.method, said.adapters, said.step_s) == ("full", "", None)
    assert main(["report", str(tmp_path / "runs" / f"{record.run_id}.json"), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["part"] for row in body["tuning"]["rows"]] == [name for name in COUNTABLE if said.parts_bytes[name]]
    assert (body["method"], body["trained_params"], body["predicted_step_s"]) == ("full", 45_344, None)


def test_adapters_are_one_screen(tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Rank 8 on queries (32 x 32) and values (16 x 32) of four layers: 4 x 8 x (64 + 48)."""
    pytest.importorskip("peft")
    assert run(tmp_path, "--method", "lora", "--lora-rank", "8", "--checkpointing", "full") == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 30
    assert "LoRA of rank 8 on query, value · 3,584 parameters trained" in shown
    ((record,), _) = read_folder(tmp_path / "runs")
    assert record.proof.tuning is not None
    assert record.proof.tuning.trained_params == 3584
    assert (record.request.lora_rank, record.request.recompute) == (8, "full")


def test_masks_of_a_models_own_dropout_are_said_to_be_left_out(tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    """GPT-2 drops a tenth unless its configuration says otherwise."""
    write_config(tmp_path / "tiny", "gpt2")
    assert run(tmp_path, "--method", "full", "--precision", "fp32") == 0
    assert "\nactivations: masks of the model's own dropout are left out" in capsys.readouterr().out
    ((record,), _) = read_folder(tmp_path / "runs")
    assert record.estimate.tuning is not None
    assert record.estimate.tuning.inexact == "masks of the model's own dropout are left out"


def test_a_plain_training_has_no_fine_tuning_in_it(tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    assert "What it held" not in capsys.readouterr().out
    ((record,), _) = read_folder(tmp_path / "runs")
    assert (record.estimate.tuning, record.proof.tuning, record.request.method) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "lora", "--lora-targets", "nothing"], "has no linear layer 'nothing'"),
        (["--lora-rank", "8"], "--lora-rank is of a fine-tuning; add --method"),
        (["--optimizer", "sgd"], "optimizer 'sgd' does not train tiny; expected adamw, or name a --method, such as full"),
        (["--method", "full", "--precision", "half"], "invalid choice: 'half'"),
        (["--method", "full", "--optimizer", "lomo"], "--optimizer lomo cannot be made here"),
    ],
)
def test_a_wrong_request_is_one_line(words: list[str], said: str, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    if "lora" in words:
        pytest.importorskip("peft")
    assert run(tmp_path, *words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("· ")]
    assert said in line
    assert not list(tmp_path.glob("runs/*"))
