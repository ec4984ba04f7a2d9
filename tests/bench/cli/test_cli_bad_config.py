"""Bad configurations and sizes on the command line: one line and exit 2 from every verb that takes a --config, run included."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from tests.support.error_lines import complaint

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 100,
}
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
LARGE = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 32000,
}
VERBS = ("show", "estimate", "run")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is '0'; expected a whole number from 1"),
        ({"model_type": "mixtral", "num_experts_per_tok": 9}, "num_experts_per_tok is '9'; expected at most as many as num_local_experts"),
        (LLAMA | {"num_attention_heads": 3}, "hidden_size 64 is not a multiple of num_attention_heads 3; the heads do not divide"),
        ({"model_type": "qwen2", "num_hidden_layers": 2, "layer_types": ["full_attention"]}, "layer_types is "),
        ({"model_type": "frobnicator"}, "model_type 'frobnicator' has no op table"),
        ({"model_type": "my_model", "auto_map": {"AutoModelForCausalLM": "code.Model"}}, "'my_model'"),
        ({}, "it has no model_type, and architectures names no class of a family"),
        (LLAMA | {"architectures": ["LlamaForChess"]}, "'LlamaForChess'"),
    ],
)
def test_a_configuration_that_no_verb_can_use(
    verb: str, config: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert said in complaint([verb, "--config", str(tmp_path)], capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_of_two_gigabytes_is_refused_without_being_read(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole of 2 GiB, which takes no room on the disk; opening it would be the mistake."""
    path = tmp_path / "config.json"
    with open(path, "wb") as file:
        file.truncate(2 * 2**30)
    monkeypatch.setattr("estimators.architectures.from_config._read_json", lambda file: pytest.fail(f"{file} was read"))
    assert "has 2,147,483,648 bytes; expected a Hugging Face config.json" in complaint([verb, "--config", str(path)], capsys)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("content", "said"), [("", "not valid JSON"), ('{"model_type":', "not valid JSON (line 1)"), ("[1]", "holds a list, not an object")]
)
def test_a_file_that_is_no_configuration_is_refused_by_every_verb(
    verb: str, content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(content)
    assert said in complaint([verb, "--config", str(tmp_path)], capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_without_a_configuration_and_a_folder_in_its_place(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no config file at" in complaint([verb, "--config", str(tmp_path)], capsys)
    (tmp_path / "config.json").mkdir()
    assert "no config file at" in complaint([verb, "--config", str(tmp_path)], capsys)
    assert "no config file at" in complaint([verb, "--config", str(tmp_path / "config.json")], capsys)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["missing.json", "./missing", "/no/such/folder/"])
def test_a_place_without_a_configuration_is_no_unknown_model(verb: str, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"no config file at {place!r}" in complaint([verb, place], capsys)


def test_an_address_of_the_hub_is_a_name_and_no_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "https://huggingface.co/Qwen/Qwen2.5-7B/blob/main/config.json"]) == 0
    assert "Qwen/Qwen2.5-7B, the shape of qwen2-7b" in capsys.readouterr().out


@pytest.mark.parametrize("config", [LLAMA, {"model_type": "xglm", "d_model": 32, "num_layers": 1, "attention_heads": 4, "ffn_dim": 64}])
def test_code_that_a_configuration_names_is_never_executed(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an op table and without: the code beside the file would leave a trace if it ran."""
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "it_ran"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Model: ...\nclass Config: ...\n")
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}})
    )
    assert main(["show", "--config", str(tmp_path), "--seq-len", "8"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert not trace.exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["seq-len", "batch"])
@pytest.mark.parametrize("value", ["0", "-1", "1e12", "1.5", "many", "nan"])
def test_a_size_that_makes_no_sense(verb: str, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{option} '{value}' is" in complaint([verb, "--model", "gpt2", f"--{option}={value}"], capsys)


def test_a_class_without_an_op_table_is_shown_as_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"architectures": ["LlamaForTokenClassification"], "num_labels": 5}))
    assert main(["show", "--config", str(tmp_path), "--seq-len", "8", "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["tag"], body["built_as"]) == ("counted", "LlamaForTokenClassification")
    assert main(["estimate", "--config", str(tmp_path), "--tokens", "1M"]) == 0
    assert "op table traced from transformers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("base", "change", "said"),
    [
        (GPT2, {"n_embd": -768}, "n_embd is '-768'; expected a whole number from 1"),
        (GPT2, {"n_layer": 0}, "n_layer is '0'; expected"),
        (GPT2, {"vocab_size": 10**30}, "vocab_size is"),
        (GPT2, {"n_embd": float("nan")}, "n_embd is 'nan'; expected"),
        (GPT2, {"n_embd": float("inf")}, "n_embd is 'inf'; expected"),
        (GPT2, {"n_embd": 768.5}, "n_embd is '768.5'; expected"),
        (GPT2, {"n_embd": "768"}, "n_embd is '768'; expected a whole number"),
        (GPT2, {"n_embd": True}, "n_embd is 'True'; expected"),
        (GPT2, {"n_embd": [768]}, "n_embd is '[768]'; expected"),
        (GPT2, {"n_head": 7}, "n_embd 768 is not a multiple of n_head 7; the heads do not divide"),
        (LARGE, {"num_key_value_heads": 5}, "num_attention_heads 32 is not a multiple of num_key_value_heads 5"),
        (LARGE, {"num_attention_heads": 33, "num_key_value_heads": 33}, "the heads do not divide"),
        (LARGE, {"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'; expected true or false"),
        (GPT2, {"model_type": "perceptron"}, "model_type 'perceptron' has no op table"),
        (GPT2, {"model_type": None}, "it has no model_type, and architectures names no class of a family"),
        (GPT2, {"model_type": {"a": 1}}, "model_type is"),
        ({"model_type": "dense_network"}, {"widths": [7]}, "widths is '[7]'; expected a list of 2 or more"),
        ({"model_type": "dense_network"}, {"widths": [7, 0]}, "widths is"),
        ({"model_type": "dense_network"}, {"widths": "7,1"}, "widths is '7,1'"),
    ],
)
def test_a_hostile_configuration(
    base: dict[str, Any], change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(base | change))
    for argv in (["show", "--config", str(path)], ["estimate", "--config", str(path), "--tokens", "1B"]):
        assert said in complaint(argv, capsys)


@pytest.mark.parametrize("config", [GPT2, LARGE, {"model_type": "dense_network", "widths": [7, 1]}])
def test_the_same_configurations_unharmed_are_taken(config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for argv in (["show", "--config", str(tmp_path)], ["estimate", "--config", str(tmp_path / "config.json"), "--tokens", "1B"]):
        assert main(argv) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not valid JSON"),
        (json.dumps(GPT2).encode()[:-20], "is not valid JSON"),
        (b"\xff\xfe\x00\x01", "is not valid JSON"),
        (b"[1, 2]", "holds a list, not an object"),
        (b"null", "holds a NoneType, not an object"),
        (b'{"a":' * 100_000, "is nested too deeply"),
        (b'{"a":' * 2_000_000 + b"1" + b"}" * 2_000_000, "at most 8,388,608 bytes"),
        (b'{"model_type": "gpt2", "n_embd": ' + b"9" * 10_000 + b"}", "is not valid JSON"),
    ],
    ids=["empty", "truncated", "binary", "list", "null", "nested", "10 MB of nesting", "10,000 digits"],
)
def test_a_file_that_is_no_configuration(content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert said in complaint(["show", "--config", str(path)], capsys)


@pytest.mark.parametrize("path", ["no/such/config.json", "", "a\0b"])
def test_a_configuration_that_is_not_there(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    complaint(["show", "--config", path], capsys)
