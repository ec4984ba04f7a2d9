"""fit --from: a job's own files through the verb, with options beside them; what `plan --emit` writes; and files of strangers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import sixnd
from bench.cli.main import main
from tests.support.error_lines import complaint
from tests.support.tuning_files import AXOLOTL, DEEPSPEED, FILES, HOSTILE, HOSTILE_JSON, LLAMA_FACTORY

ON = "--hardware a100-sxm4-80gb"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files lie that are named."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The answer in json; the exit code is that of one that fits or does not."""
    assert main([*shlex.split(command), "--format", "json"]) in (0, 1)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def settings(answer: dict[str, Any]) -> dict[str, str]:
    """The job that was answered for."""
    (job,) = [table for table in tables(answer) if table[0].keys() == {"setting", "value"}]
    return {str(row["setting"]): row["value"] for row in job}


def tables(answer: Any) -> list[list[dict[str, Any]]]:
    """All lists of rows in an answer."""
    if isinstance(answer, dict):
        return [rows for value in answer.values() for rows in tables(value)]
    is_rows = isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer)
    return [answer] if is_rows else []


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_answered_for_with_what_was_read(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"fit llama-3-8b --from {name} {ON} --seq-len 512 --gpus 8"
    assert main(shlex.split(command)) in (0, 1)
    out = capsys.readouterr().out
    assert f"read of {name} (" in out
    assert len(out.splitlines()) <= 30
    rows = [row for row in answered(command, capsys)["files"]["rows"] if row["how"] == "read"]
    assert {row["from"] for row in rows} == {name, "the command line"}


def test_the_model_may_be_the_files_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(f"fit --from axolotl.yml {ON} --gpus 4", capsys)["model"] == "llama-3.1-8b"
    assert answered(f"fit --from llama_factory.yaml {ON}", capsys)["model"] == "qwen2-7b"
    assert answered(f"fit --from torchtune.yaml {ON}", capsys)["model"] == "llama-3.1-8b"
    assert answered(f"fit gpt2 --from axolotl.yml {ON} --seq-len 512", capsys)["model"] == "gpt2"


def test_the_job_is_the_files_and_options_go_before_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = settings(answered(f"fit --from axolotl.yml {ON} --gpus 4", capsys))
    assert (job["framework"], job["base_format"], job["micro_batch"], job["sharding"]) == ("axolotl", "nf4-double", 1, "fsdp")
    assert (job["seq_len"], job["optimizer"], job["checkpointing"], job["attention"]) == (4096, "adamw_torch_8bit", "full", "flash")
    answer = answered(f"fit --from axolotl.yml {ON} --gpus 4 --batch 2 --optimizer sgd --method lora --framework trl", capsys)
    job = settings(answer)
    assert (job["framework"], job["base_format"], job["micro_batch"], job["optimizer"]) == ("trl", "16-bit", 2, "sgd")
    overruled = {row["key"]: row["how"] for row in answer["files"]["rows"] if row["how"].startswith("overruled")}
    assert overruled == {
        "micro_batch_size": "overruled by --batch of the command line",
        "optimizer": "overruled by --optimizer of the command line",
        "load_in_4bit": "overruled by --base-format of the command line",
    }


def test_files_combine_and_what_is_not_read_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "job.yml").write_text(LLAMA_FACTORY + "".join(f"mystery_{i}: 1\n" for i in range(40)))
    answer = answered(f"fit --from job.yml --from ds_z3.json {ON} --gpus 2", capsys)
    assert settings(answer)["sharding"] == "zero-3"
    assert [row["key"] for row in answer["files"]["rows"] if row["how"] == "not read"] == [f"mystery_{i}" for i in range(40)]
    assert main(shlex.split(f"fit --from job.yml {ON}")) in (0, 1)
    assert "not known, and not read: mystery_0, mystery_1, " in capsys.readouterr().out


def test_a_guard_in_front_of_a_job_says_by_its_exit_code_whether_it_fits(folder: Path) -> None:
    assert main(shlex.split("fit --from llama_factory.yaml --hardware h100-sxm5-80gb -q")) == 0
    assert main(shlex.split("fit --from llama_factory.yaml --hardware rtx-4090-24gb --method full -q")) == 1


def test_the_largest_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"fit --from llama_factory.yaml {ON} --largest batch")) == 0
    out = capsys.readouterr().out
    assert "at most " in out
    assert "read of llama_factory.yaml (LLaMA-Factory)" in out


def test_a_device_without_bf16_is_asked_for_what_a_file_states(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "t4-16gb does not multiply in bf16" in complaint(shlex.split("fit --from dpo.json --hardware t4-16gb"), capsys)
    (folder / "open.json").write_text(FILES["dpo.json"].replace('"bf16": true,', ""))
    assert settings(answered("fit --from open.json --hardware t4-16gb", capsys))["autocast"] == "fp16"


@pytest.mark.parametrize("launcher", ["accelerate", "deepspeed", "torchtitan", "megatron"])
def test_what_plan_writes_is_answered_for_as_the_plan_that_it_is(launcher: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = "dp=8,zero=3,micro_batch=2,recompute=full" if launcher in ("accelerate", "torchtitan") else "dp=8,zero=1,micro_batch=2"
    plan = f"plan gpt2 --hardware a100-sxm4-80gb --gpus 8 --tokens 1B --global-batch 64seq --seq-len 1024 --layout {layout}"
    assert main(shlex.split(f"{plan} --emit {launcher}")) == 0
    (folder / "run").write_text(capsys.readouterr().out)
    job = settings(answered(f"fit gpt2 --from run {ON} --seq-len 1024 --method full", capsys))
    expected = {"micro_batch": 2, "accumulation": 4, "checkpointing": "full" if "recompute" in layout else "none"}
    expected["sharding"] = "fsdp" if "zero=3" in layout else "zero-1"
    assert {name: job[name] for name in expected} == expected


def test_the_library_takes_paths(folder: Path) -> None:
    one = sixnd.fit(hardware="a100-sxm4-80gb", from_files=folder / "llama_factory.yaml")
    assert (one.model, one.framework, one.fits) == ("qwen2-7b", "llama-factory", True)
    two = sixnd.fit(hardware="a100-sxm4-80gb", from_files=[folder / "llama_factory.yaml", str(folder / "ds_z3.json")], gpus=2)
    assert two.num_devices == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_yaml_is_one_line_and_exit_code_2(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = HOSTILE[name]
    if said:
        (folder / "job.yml").write_text(text)
        assert said in complaint(shlex.split(f"fit gpt2 --from job.yml {ON}"), capsys)


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_a_hostile_json_is_one_line_and_exit_code_2(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = HOSTILE_JSON[name]
    (folder / "job.json").write_text(text)
    assert said in complaint(shlex.split(f"fit gpt2 --from job.json {ON}"), capsys)


def test_what_is_no_file_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "training_args.bin").write_bytes(b"PK\x03\x04")
    with open(folder / "large.yml", "wb") as stream:
        stream.truncate(100 * 10**6)
    (folder / "x.yml").write_text(AXOLOTL.partition("fsdp_version")[0] + "deepspeed: other.json\n")
    for path, said in {
        "none.yml": "cannot read 'none.yml': No such file",
        ".": "cannot read '.': Is a directory",
        "training_args.bin": "is a pickle",
        "large.yml": "more than 1,000,000 bytes",
        "x.yml": "names the DeepSpeed configuration 'other.json', which is not there; add --from FILE",
        "ds_z3.json": "ds_z3.json names no model; give its name, or --config",
        "''": "--from names no file",
    }.items():
        assert said in complaint(shlex.split(f"fit --from {path} {ON}"), capsys)
    assert "--from has no part in --menu, which is of a device" in complaint(shlex.split(f"fit --menu --from axolotl.yml {ON}"), capsys)
    (folder / "ds.json").write_text(DEEPSPEED.replace('"train_micro_batch_size_per_gpu": "auto"', '"train_micro_batch_size_per_gpu": 4'))
    assert "the run would not start" in complaint(shlex.split(f"fit --from llama_factory.yaml --from ds.json {ON}"), capsys)
