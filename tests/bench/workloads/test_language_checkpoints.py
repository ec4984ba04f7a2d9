"""Weights from a checkpoint's folder, with and without a tokenizer, and folders that are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli.main import main
from bench.records.record import Measurement, read_folder
from bench.workloads.language import inputs, loading
from bench.workloads.language.run import Checkpoint
from estimators.errors import BadConfigError, BadValueError
from tests.support.checkpoints import RUN, save_checkpoint, save_tokenizer
from tests.support.tiny_models import decided

pytestmark = pytest.mark.usefixtures("quick")


def run_with(folder: Path, out: Path, *words: str) -> Measurement:
    assert main(["run", "--config", str(folder), "--weights", str(folder), "--out", str(out), *RUN, *words]) == 0
    (record,), _ = read_folder(out)
    return record


class TestCheckpointFolder:
    def test_its_own_weights_run_and_the_record_says_so(self, tmp_path: Path) -> None:
        saved = save_checkpoint(tmp_path / "phi-own")
        found = loading.find_checkpoint(str(tmp_path / "phi-own"), None)
        assert found is not None
        assert found.label == "checkpoint phi-own"
        loaded = loading.load(dataclasses.replace(decided("phi", "generate"), checkpoint=found)).model
        assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in saved.state_dict().items())
        assert not loaded.training

    def test_the_prompt_is_tokenized_where_a_tokenizer_is_at_hand(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "phi-own")
        save_tokenizer(tmp_path / "phi-own")
        record = run_with(tmp_path / "phi-own", tmp_path / "runs", "--prompt", "deep learning is hard", "--batch", "2")
        assert record.request.weights_label == "checkpoint phi-own"
        assert record.request.input_label == "the prompt, 4 tokens under the checkpoint's tokenizer"
        assert (record.request.seq_len, record.request.prompt) == (4, "deep learning is hard")
        assert record.learning.output_ids[:4] == (2, 3, 4, 5)
        assert record.learning.output_text.startswith("deep learning is hard")
        assert record.proof.forward_shapes_as_planned  # 2 prompts x 2 beams of 4 tokens

    def test_without_a_tokenizer_random_ids_stand_in_and_the_record_says_so(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "phi-own")
        record = run_with(tmp_path / "phi-own", tmp_path / "runs")
        assert record.request.weights_label == "checkpoint phi-own"
        assert record.request.input_label == "10 random token ids stand in for text"
        assert "output_text" not in record.learning

    def test_a_prompt_without_tokens_is_refused(self) -> None:
        class Empty:
            def __call__(self, *_: object, **__: object) -> Any:
                return type("Encoded", (), {"input_ids": torch.zeros(1, 0)})

        with pytest.raises(BadValueError, match=r"the prompt 'x' has no token under the checkpoint's tokenizer; give another"):
            inputs.encode("x", Empty(), 128)

    def test_a_tokenizer_of_a_larger_model_is_refused(self, tmp_path: Path) -> None:
        save_tokenizer(tmp_path, words=("<unk>", "<pad>", *(str(i) for i in range(200))))
        tokenizer = loading.load_tokenizer(Checkpoint(place=str(tmp_path), label=""), trust_remote_code=False)
        assert inputs.encode("120", tokenizer, 128).tolist() == [[122]]
        with pytest.raises(BadConfigError, match=r"the checkpoint's tokenizer gives token 152, but the model's vocabulary has 128"):
            inputs.encode("150", tokenizer, 128)


def complaint(folder: Path, out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a run of the checkpoint is refused with: one line, exit 2, no record, no folder."""
    capsys.readouterr()
    assert main(["run", "--model", "phi-2", "--weights", str(folder), "--out", str(out), *RUN, *words]) == 2
    stdout, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("· ")]
    assert stdout == ""
    assert len(lines) == 1
    assert not out.exists()
    return lines[0]


class TestBadCheckpoint:
    def test_a_folder_that_is_not_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        said = complaint(tmp_path / "none", tmp_path / "runs", capsys)
        assert said.startswith("error: no checkpoint folder ")
        assert said.endswith("give a folder that save_pretrained wrote, or leave --weights out")

    def test_a_folder_without_weights(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        (tmp_path / "phi" / "model.safetensors").unlink()
        assert "holds no *.safetensors and no pytorch_model*.bin" in complaint(tmp_path / "phi", tmp_path / "runs", capsys)

    def test_a_folder_without_a_config(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        (tmp_path / "phi" / "config.json").unlink()
        assert "no config file at" in complaint(tmp_path / "phi", tmp_path / "runs", capsys)

    @pytest.mark.parametrize("damage", ["cut off", "overwritten", "empty"])
    def test_weights_that_cannot_be_read(self, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        weights = tmp_path / "phi" / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes({"cut off": whole[: len(whole) // 2], "overwritten": b"\xff" * len(whole), "empty": b""}[damage])
        assert complaint(tmp_path / "phi", tmp_path / "runs", capsys).startswith("error: cannot load the checkpoint ")

    def test_weights_that_are_missing_are_not_drawn_at_random_in_silence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from safetensors.torch import load_file, save_file

        save_checkpoint(tmp_path / "phi")
        weights = tmp_path / "phi" / "model.safetensors"
        tensors = load_file(weights)
        del tensors["model.layers.1.mlp.fc1.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
        said = complaint(tmp_path / "phi", tmp_path / "runs", capsys)
        assert "has no fitting model.layers.1.mlp.fc1.weight (1 weights in all), which would be drawn at random" in said

    def test_weights_of_another_shape(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        path = tmp_path / "phi" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 96}))
        # in each of 4 layers the first matrix with its bias and the second one; the second one's bias has the model's width
        assert "has no fitting model.layers.0.mlp.fc1.bias (12 weights in all)" in complaint(tmp_path / "phi", tmp_path / "runs", capsys)

    def test_slices_are_not_cut_from_a_checkpoint(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        argv = ["run", "--model", "phi-2", "--weights", str(tmp_path / "phi"), "--task", "train", "--layers", "2"]
        assert main([*argv, "--out", str(tmp_path / "runs")]) == 2
        assert "--layers cuts slices of random weights and no checkpoint" in capsys.readouterr().err

    def test_a_model_type_of_code_that_is_not_trusted(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        path = tmp_path / "phi" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}))
        assert "needs code of its own to run; only if you trust it" in complaint(tmp_path / "phi", tmp_path / "runs", capsys)

    def test_a_model_type_without_an_op_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        path = tmp_path / "phi" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "evil", "architectures": ["EvilForCausalLM"]}))
        assert "model_type 'evil' has no op table" in complaint(tmp_path / "phi", tmp_path / "runs", capsys)

    def test_the_twin_runs(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "phi")
        assert main(["run", "--model", "phi-2", "--weights", str(tmp_path / "phi"), "--out", str(tmp_path / "runs"), *RUN]) == 0
