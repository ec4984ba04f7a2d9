"""Weights: seeded random ones that are real work, and checkpoints from a folder or the hub's cache, never the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CONFIGS, asked, config
from torch import nn
from torch.overrides import TorchFunctionMode

from bench.backend.models import language_model, random_language_model
from bench.cli.main import main
from bench.record import Measurement, read_folder
from bench.workloads.language import inputs, loading
from estimators.errors import BadConfigError, BadValueError, UnavailableError

pytestmark = pytest.mark.usefixtures("quick")
ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
RUN = ["--task", "generate", "--new-tokens", "3", "--num-beams", "2", "--steps", "1"]


def random_model(family: str, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> nn.Module:
    return random_language_model(config(family) | changes, attn="sdpa", dtype=dtype, device=CPU, seed=seed).eval()


class TestRandomWeights:
    @pytest.mark.parametrize("family", CONFIGS)
    def test_the_seed_decides_every_weight(self, family: str) -> None:
        first, again, other = (random_model(family, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        matrices = [name for name, tensor in first.items() if tensor.dim() >= 2]
        assert matrices
        assert not any(torch.equal(first[name], other[name]) for name in matrices)

    @pytest.mark.parametrize("family", CONFIGS)
    def test_matrices_are_drawn_norms_are_ones_and_biases_zeros(self, family: str) -> None:
        for name, p in random_model(family).named_parameters():
            if p.dim() >= 2:
                # 0.02 / sqrt(2 n) is the standard error of a standard deviation from n draws; six of them allowed
                assert abs(p.std().item() - 0.02) < 6 * 0.02 / (2 * p.numel()) ** 0.5, name
                assert torch.unique(p).numel() > 0.9 * p.numel(), name
            else:
                assert torch.all(p == (1 if "norm" in name or ".ln_" in name else 0)) or name.endswith("bias"), name
                if name.endswith("bias"):
                    assert torch.all(p == 0), name

    def test_no_row_of_a_wide_matrix_repeats(self) -> None:
        """The drawn block is laid end to end: were its length a multiple of the width, every 4096th row would be the same."""
        wide = random_model("llama", hidden_size=1024, intermediate_size=8192, num_attention_heads=8, num_hidden_layers=1)
        down = dict(wide.named_parameters())["model.layers.0.mlp.down_proj.weight"]
        assert down.numel() == 2**23  # two blocks long
        assert torch.unique(down, dim=0).shape[0] == down.shape[0]

    @pytest.mark.parametrize("family", ["phi", "llama", "mistral"])
    def test_rotary_buffers_are_those_of_a_model_built_the_ordinary_way(self, family: str) -> None:
        expected = {name: b for name, b in language_model(config(family)).named_buffers() if "inv_freq" in name}
        found = dict(random_model(family).named_buffers())
        assert expected
        assert all(torch.equal(found[name], buffer) for name, buffer in expected.items())

    def test_inverse_frequencies_are_the_papers(self) -> None:
        """theta^(-2i/d) with d = 0.5 · 8 = 4 rotary widths. Source: Su et al. 2021 (arXiv 2104.09864), section 3.2.2."""
        (inverse,) = (b for name, b in random_model("phi").named_buffers() if name.endswith(".inv_freq"))
        torch.testing.assert_close(inverse, torch.tensor([1.0, 10_000 ** (-2 / 4)]))

    @pytest.mark.parametrize("family", CONFIGS)
    def test_logits_are_those_of_an_ordinary_model_with_the_same_weights(self, family: str) -> None:
        """Buffers that no state dict holds must be right as well, or the logits differ."""
        drawn, ordinary = random_model(family), language_model(config(family)).eval()
        ordinary.load_state_dict(drawn.state_dict())
        ids = torch.arange(24).view(2, 12)
        with torch.no_grad():
            assert torch.equal(drawn(input_ids=ids).logits, ordinary(input_ids=ids).logits)

    @pytest.mark.parametrize(("family", "tied"), [("gpt2", True), ("llama", False), ("llama", True)])
    def test_a_tied_head_stays_tied(self, family: str, tied: bool) -> None:
        model = random_model(family, tie_word_embeddings=tied)
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) is tied

    @pytest.mark.parametrize("family", CONFIGS)
    def test_only_one_block_is_drawn_and_no_weight_twice(self, family: str) -> None:
        """Initial weights that are overwritten anyway would take a minute to draw for billions of them."""
        drawn: list[tuple[str, int]] = []

        class Watch(TorchFunctionMode):
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
                    drawn.append((func.__name__, (args[0] if args else kwargs["tensor"]).numel()))
                return func(*args, **(kwargs or {}))

        with Watch():
            random_model(family)
        assert drawn == [("normal_", 2**22 + 15)]
        drawn.clear()
        with Watch():
            language_model(config(family))
        assert len(drawn) > 20  # the ordinary way: the watch sees every draw

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_every_parameter_has_the_dtype_asked_for(self, dtype: torch.dtype) -> None:
        assert {p.dtype for p in random_model("phi", dtype=dtype).parameters()} == {dtype}


def save_checkpoint(folder: Path, family: str = "phi", seed: int = 3, **changes: Any) -> nn.Module:
    model = random_model(family, seed, **changes)
    model.save_pretrained(folder)
    return model


def save_tokenizer(folder: Path, words: tuple[str, ...] = ("<unk>", "<pad>", "deep", "learning", "is", "hard")) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)


def run_with(folder: Path, out: Path, *words: str) -> Measurement:
    assert main(["run", "--config", str(folder), "--weights", str(folder), "--out", str(out), *RUN, *words]) == 0
    (record,), _ = read_folder(out)
    return record


class TestCheckpointFolder:
    def test_its_own_weights_run_and_the_record_says_so(self, tmp_path: Path) -> None:
        saved = save_checkpoint(tmp_path / "phi-own")
        found = loading.find_checkpoint(asked("phi", "generate", weights=str(tmp_path / "phi-own")), None)
        assert found is not None
        assert found.label == "checkpoint phi-own"
        loaded = loading.load(asked("phi", "generate", dtype="fp32"), found, device=CPU).model
        assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in saved.state_dict().items())
        assert not loaded.training

    def test_the_prompt_is_tokenized_where_a_tokenizer_is_at_hand(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "phi-own")
        save_tokenizer(tmp_path / "phi-own")
        record = run_with(tmp_path / "phi-own", tmp_path / "runs", "--prompt", "deep learning is hard", "--batch", "2")
        assert record.request["weights_label"] == "checkpoint phi-own"
        assert record.request["input_label"] == "the prompt, 4 tokens under the checkpoint's tokenizer"
        assert (record.request["seq_len"], record.request["prompt"]) == (4, "deep learning is hard")
        assert record.learning["output_ids"][:4] == [2, 3, 4, 5]
        assert record.learning["output_text"].startswith("deep learning is hard")
        assert record.proof["forward_shapes_as_planned"]  # 2 prompts x 2 beams of 4 tokens

    def test_without_a_tokenizer_random_ids_stand_in_and_the_record_says_so(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "phi-own")
        record = run_with(tmp_path / "phi-own", tmp_path / "runs")
        assert record.request["weights_label"] == "checkpoint phi-own"
        assert record.request["input_label"] == "10 random token ids stand in for text"
        assert "output_text" not in record.learning

    def test_a_prompt_without_tokens_is_refused(self) -> None:
        class Empty:
            def __call__(self, *_: object, **__: object) -> Any:
                return type("Encoded", (), {"input_ids": torch.zeros(1, 0)})

        with pytest.raises(BadValueError, match=r"the prompt 'x' has no token under the checkpoint's tokenizer; give another"):
            inputs.encode(asked("phi", "generate", prompt="x"), Empty(), 128)

    def test_a_tokenizer_of_a_larger_model_is_refused(self, tmp_path: Path) -> None:
        save_tokenizer(tmp_path, words=("<unk>", "<pad>", *(str(i) for i in range(200))))
        tokenizer = loading.load_tokenizer(loading.Checkpoint(place=str(tmp_path), label=""), trust_remote_code=False)
        assert inputs.encode(asked("phi", "generate", prompt="120"), tokenizer, 128) is not None  # token 122
        with pytest.raises(BadConfigError, match=r"the checkpoint's tokenizer gives token 152, but the model's vocabulary has 128"):
            inputs.encode(asked("phi", "generate", prompt="150"), tokenizer, 128)


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

    def test_a_model_type_without_an_op_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        save_checkpoint(tmp_path / "phi")
        path = tmp_path / "phi" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}))
        assert "model_type 'evil' has no op table" in complaint(tmp_path / "phi", tmp_path / "runs", capsys)

    def test_the_twin_runs(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "phi")
        assert main(["run", "--model", "phi-2", "--weights", str(tmp_path / "phi"), "--out", str(tmp_path / "runs"), *RUN]) == 0


REMOTE_CODE = """
import pathlib
from transformers import PhiConfig, PhiForCausalLM

pathlib.Path({marker!r}).write_text("executed")


class EvilConfig(PhiConfig):
    pass


class EvilForCausalLM(PhiForCausalLM):
    config_class = EvilConfig
"""

FRESH_PROCESS = """
import json, pathlib, sys
import torch
from bench.request import Request
from bench.workloads.language import loading

own_code, marker = sys.argv[1:]
cpu, seen = torch.device("cpu"), {}

def load(found, trusted):
    request = Request(model="own", config={}, task="generate", dtype="fp32", trust_remote_code=trusted)
    loading.load_tokenizer(found, trusted)
    return loading.load(request, found, device=cpu).model

for trusted in (False, True):
    found = loading.find_checkpoint(Request(model="own", config={}, task="generate", weights=own_code), None)
    name = type(load(found, trusted)).__name__
    seen["trusted" if trusted else "not trusted"] = [name, pathlib.Path(marker).exists()]

asked = Request(model="gpt2", config={}, task="generate")
cached = loading.find_checkpoint(asked, "openai-community/gpt2")
seen["cached"] = [cached.label, float(load(cached, False).transformer.wte.weight.detach().double().sum())]
seen["not cached"] = loading.find_checkpoint(asked, "microsoft/phi-2")
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def fresh_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process sees that has imported and cached nothing, with a hub cache and a checkpoint with code of its own.

    Layout of the cache: models--ORG--NAME/{refs/main, snapshots/COMMIT/files}. Source: huggingface_hub, "Understand caching".
    """
    tmp = tmp_path_factory.mktemp("fresh")
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp / "hf" / "hub" / "models--openai-community--gpt2"
    saved = save_checkpoint(cached / "snapshots" / commit, "gpt2")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    own_code, marker = tmp / "evil", tmp / "marker"
    save_checkpoint(own_code)
    path = own_code / "config.json"
    auto_map = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilForCausalLM"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": auto_map}))
    (own_code / "evil.py").write_text(REMOTE_CODE.format(marker=str(marker)))
    environ = {name: value for name, value in os.environ.items() if name != "HF_HUB_CACHE"}
    environ |= {"HF_HOME": str(tmp / "hf"), "HF_MODULES_CACHE": str(tmp / "modules")}
    command = [sys.executable, "-c", FRESH_PROCESS, str(own_code), str(marker)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=300)
    weights = dict(saved.named_parameters())["transformer.wte.weight"].detach().double().sum()
    return json.loads(done.stdout.splitlines()[-1]) | {"saved": weights.item()}


def test_a_checkpoints_own_code_runs_only_when_the_user_says_so(fresh_process: dict[str, Any]) -> None:
    assert fresh_process["not trusted"] == ["PhiForCausalLM", False]
    assert fresh_process["trusted"] == ["EvilForCausalLM", True]


def test_a_checkpoint_in_the_hubs_local_cache_is_found_by_name(fresh_process: dict[str, Any]) -> None:
    assert fresh_process["cached"] == ["checkpoint openai-community/gpt2", fresh_process["saved"]]
    assert fresh_process["not cached"] is None


def test_without_a_cache_there_is_no_checkpoint_and_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> Callable[..., None]:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert loading.find_checkpoint(asked("phi", "generate"), "nobody/no-such-checkpoint") is None
    with pytest.raises(UnavailableError, match="cannot load the checkpoint 'nobody/no-such-checkpoint'"):
        loading.load(asked("phi", "generate", dtype="fp32"), loading.Checkpoint(place="nobody/no-such-checkpoint", label=""), device=CPU)
    assert loading.load_tokenizer(loading.Checkpoint(place="nobody/no-such-checkpoint", label=""), trust_remote_code=False) is None
