"""Several files of one fine-tuning, and the command line: which goes before which, what is overruled, and what `plan` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estimators.cost.layout import Layout
from estimators.training.layouts.emit import LAUNCHERS, emit
from estimators.training.layouts.launchers.setup import Setup
from estimators.tuning.readers.job_files import COMMAND_LINE, combined
from estimators.tuning.readers.reading import Stated
from estimators.tuning.recipes import recipe
from tests.support.tuning_files import (
    ACCELERATE,
    ADAPTER,
    AXOLOTL,
    DEEPSPEED,
    FILES,
    LLAMA_FACTORY,
    TRAINER,
    TRL_DPO,
    Reader,
    refused,
)


def test_files_of_one_job_are_combined_in_the_stated_order_whatever_the_order_given(read: Reader) -> None:
    texts = {"job__yml": LLAMA_FACTORY, "ds__json": DEEPSPEED, "adapter_config__json": ADAPTER}
    found = read(**texts)
    again = read(**dict(reversed(texts.items())))
    assert found.settings == again.settings
    assert [file.format for file in found.files] == ["LLaMA-Factory", "adapter_config.json", "DeepSpeed"]
    assert found.settings["lora_rank"] == 8
    assert found.settings["lora_dropout"] == 0.05
    assert found.settings["sharding"] == "zero-3"
    said = {(each.stated.setting, each.stated.file, each.winner.file) for each in found.overruled}
    assert ("lora_rank", "adapter_config.json", "job.yml") in said
    assert (found.settings["weights_dtype"], found.settings["autocast"]) == ("bf16", "")  # DeepSpeed's, not autocast's


def test_a_deepspeed_configuration_that_a_file_names_is_read_from_beside_it(read: Reader, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "z3.json").write_text(DEEPSPEED)
    text = AXOLOTL.partition("fsdp_version")[0] + "deepspeed: configs/z3.json\n"
    found = read(job__yml=text)
    assert found.settings["sharding"] == "zero-3"
    assert [file.file for file in found.files] == ["job.yml", "z3.json"]
    assert found.settings == read(job__yml=text, ds__json=DEEPSPEED).settings
    line = refused(read, job__yml=text.replace("z3.json", "z2.json"))
    assert line == "job.yml names the DeepSpeed configuration 'configs/z2.json', which is not there; add --from FILE"


def test_a_configuration_that_a_framework_brings_is_known_by_its_name(read: Reader) -> None:
    text = LLAMA_FACTORY + "deepspeed: examples/deepspeed/ds_z3_offload_config.json\n"
    found = read(job__yml=text)
    own = read(job__yml=LLAMA_FACTORY, ds__json=DEEPSPEED)  # stage 3, both on the host
    assert found.settings == own.settings
    assert found.notes == (
        "examples/deepspeed/ds_z3_offload_config.json is not there, and is taken for the ds_z3_offload_config.json that axolotl or "
        "LLaMA-Factory brings; add --from FILE for another",
    )
    other = DEEPSPEED.replace('"stage": 3', '"stage": 2')
    assert read(job__yml=text, ds__json=other).settings["sharding"] == "zero-2"


def test_a_deepspeed_configuration_within_a_file_is_read(read: Reader) -> None:
    args = {**json.loads(TRAINER), "deepspeed": json.loads(DEEPSPEED)}
    assert read(args__json=json.dumps(args)).settings["offload_parameters"] is True


def test_an_accelerate_file_beside_a_frameworks_turns_no_checkpointing_off(read: Reader) -> None:
    text = ACCELERATE + "  fsdp_activation_checkpointing: false\n"
    assert read(a__yaml=text).settings["checkpointing"] == "none"
    found = read(a__yaml=text, args__json=TRL_DPO)
    assert "checkpointing" not in found.settings
    assert {each.setting: each.value for each in found.filled()}["checkpointing"] == "full"


def test_sizes_that_deepspeed_has_otherwise_are_refused_as_transformers_does(read: Reader) -> None:
    text = DEEPSPEED.replace('"train_micro_batch_size_per_gpu": "auto"', '"train_micro_batch_size_per_gpu": 4')
    line = refused(read, job__yml=LLAMA_FACTORY, ds__json=text)
    assert "ds.json has 4 by train_micro_batch_size_per_gpu, job.yml 2 by per_device_train_batch_size" in line
    assert read(ds__json=text).settings["micro_batch"] == 4


def option(setting: str, value: Any, word: str) -> Stated:
    return Stated(setting=setting, value=value, key=word, file=COMMAND_LINE)


def test_the_command_line_goes_before_every_file_and_what_it_overrules_is_said(tmp_path: Path) -> None:
    for name in ("axolotl.yml", "accelerate.yaml"):
        (tmp_path / name).write_text(FILES[name])
    paths = [str(tmp_path / name) for name in ("axolotl.yml", "accelerate.yaml")]
    options = [option("micro_batch", 4, "--batch"), option("num_gpus", 2, "--gpus"), option("seq_len", 4096, "--seq-len")]
    found = combined(paths, options)
    assert (found.settings["micro_batch"], found.settings["num_gpus"], found.settings["seq_len"]) == (4, 2, 4096)
    said = {(each.winner.key, each.stated.key, each.stated.file) for each in found.overruled}
    assert said == {("--batch", "micro_batch_size", "axolotl.yml"), ("--gpus", "num_processes", "accelerate.yaml")}


def test_a_method_of_the_command_line_takes_back_what_a_file_says_of_adapters(tmp_path: Path) -> None:
    (tmp_path / "axolotl.yml").write_text(AXOLOTL)
    found = combined([str(tmp_path / "axolotl.yml")], [option("method", "full", "--method")])
    assert not {"lora_rank", "lora_targets", "base_format"} & set(found.given())
    assert found.notes == ("lora_r, lora_target_linear, load_in_4bit: without effect, because no adapters are trained",)
    assert found.given()["weights_dtype"] == recipe("axolotl").weights_dtype


def test_a_framework_of_the_command_line_fills_in_in_place_of_the_files_own(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text(TRAINER)
    path = str(tmp_path / "args.json")
    assert combined([path]).given()["checkpointing"] == "none"
    assert combined([path], framework="trl").given()["checkpointing"] == "full"
    old = combined([path], framework="trl", version="0.9")
    assert (old.given()["checkpointing"], old.given()["method"]) == (recipe("trl", "0.9").checkpointing, "full")
    other = combined([path], framework="unsloth")
    assert (other.given()["method"], other.notes) == ("full", ("args.json is transformers'; unsloth fills in the rest",))


def test_deepspeed_beside_plain_replicas_is_what_shares_and_fsdp_beside_it_is_refused(read: Reader) -> None:
    plain = "distributed_type: MULTI_GPU\nnum_processes: 4\nmixed_precision: bf16\n"
    found = read(a__yaml=plain, ds__json=DEEPSPEED, job__yml=LLAMA_FACTORY)
    assert (found.settings["sharding"], found.settings["num_gpus"]) == ("zero-3", 4)
    engine = plain.replace("MULTI_GPU", "DEEPSPEED") + "deepspeed_config: {zero_stage: 2}\n"
    assert read(a__yaml=engine).settings["sharding"] == "zero-2"
    assert read(a__yaml=engine, ds__json=DEEPSPEED).settings["sharding"] == "zero-3"
    line = refused(read, a__yaml=ACCELERATE, ds__json=DEEPSPEED)
    assert line == "ds.json has zero-3 by zero_optimization.stage, a.yaml fsdp: a run has one; take one out"


def test_two_files_of_one_kind_are_refused(read: Reader) -> None:
    line = refused(read, a__yml=AXOLOTL, b__yaml=LLAMA_FACTORY)
    assert line == "a.yml and b.yaml are both the framework's own file of a job; give one"


SHARED = {"accelerate": {0: "ddp", 2: "zero-2", 3: "fsdp"}, "torchtitan": {0: "ddp", 2: "zero-2", 3: "fsdp"}}
ZERO = {0: "ddp", 1: "zero-1", 2: "zero-2", 3: "zero-3"}


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_what_plan_writes_for_a_launcher_is_read_as_the_layout_that_it_is(launcher: str, zero: int, recompute: Any, read: Reader) -> None:
    layout = Layout(dp=8, zero=zero, micro_batch=2, global_batch=64, recompute=recompute)
    text = emit(layout, launcher, Setup(seq_len=2048, layers=32, dtype="bf16", devices_per_node=8))
    found = read(run=text)
    expected = {"num_gpus": 8, "micro_batch": 2, "accumulation": 4, "checkpointing": recompute}
    expected["sharding"] = SHARED.get(launcher, ZERO).get(zero, ZERO[zero])
    settings = found.given()
    assert {name: settings[name] for name in expected} == expected
    assert found.unread == found.notes == ()


def test_a_model_that_is_cut_is_left_to_plan(read: Reader) -> None:
    layout = Layout(tp=2, dp=4, micro_batch=1, global_batch=8)
    for launcher in LAUNCHERS:
        text = emit(layout, launcher, Setup(seq_len=2048, layers=32, dtype="bf16", devices_per_node=8))
        assert "tp = 2" in refused(read, run=text)
