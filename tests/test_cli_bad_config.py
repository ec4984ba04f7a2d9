"""Bad configurations and sizes on the command line: one line and exit 2 from every verb that takes a --config, run included."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 100,
}
VERBS = ("show", "estimate", "run")


def complaint(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("· ")]
    assert out == ""
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 500
    return lines[0]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is '0'; expected a whole number from 1"),
        ({"model_type": "mixtral", "num_experts_per_tok": 9}, "num_experts_per_tok is '9'; expected at most as many as num_local_experts"),
        (LLAMA | {"num_attention_heads": 3}, "hidden_size 64 is not a multiple of num_attention_heads 3; the heads do not divide"),
        ({"model_type": "qwen2", "num_hidden_layers": 2, "layer_types": ["full_attention"]}, "layer_types is "),
        ({"model_type": "frobnicator"}, "model_type 'frobnicator' has no op table"),
        ({"model_type": "my_model", "auto_map": {"AutoModelForCausalLM": "code.Model"}}, "model_type 'my_model' has no op table"),
        ({}, "model_type is 'None'; expected the name of a family"),
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
    monkeypatch.setattr("estimators.hf_config._read_json", lambda file: pytest.fail(f"{file} was read"))
    assert "has 2,147,483,648 bytes; expected a Hugging Face config.json" in complaint([verb, "--config", str(path)], capsys)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("content", "said"), [("", "not valid JSON"), ('{"model_type":', "not valid JSON (line 1)"), ("[1]", "holds a list, not an object")]
)
def test_a_file_that_is_no_configuration(verb: str, content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(content)
    assert said in complaint([verb, "--config", str(tmp_path)], capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_without_a_configuration_and_a_folder_in_its_place(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no config file at" in complaint([verb, "--config", str(tmp_path)], capsys)
    (tmp_path / "config.json").mkdir()
    assert "no config file at" in complaint([verb, "--config", str(tmp_path)], capsys)
    assert "no config file at" in complaint([verb, "--config", str(tmp_path / "config.json")], capsys)


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
    assert "architectures names 'LlamaForTokenClassification'" in complaint(["estimate", "--config", str(tmp_path)], capsys)
