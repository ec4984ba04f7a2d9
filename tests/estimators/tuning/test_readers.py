"""Configuration files of fine-tunings: what is read, what the framework fills in, what is named as unread; hostile ones are one line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from estimators.cost.layout import Layout
from estimators.errors import RequestError
from estimators.training.layouts.emit import LAUNCHERS, emit
from estimators.training.layouts.launchers.setup import Setup
from estimators.tuning.readers.job_files import COMMAND_LINE, Reading, combined
from estimators.tuning.readers.one_file import FORMATS
from estimators.tuning.readers.reading import Stated
from estimators.tuning.recipes import recipe, recipes
from estimators.weight_formats import weight_format
from tests.support.tuning_files import (
    ACCELERATE,
    ADAPTER,
    AXOLOTL,
    DEEPSPEED,
    FILES,
    GRPO,
    HOSTILE,
    HOSTILE_JSON,
    LLAMA_FACTORY,
    TORCHTUNE,
    TRAINER,
    TRL_DPO,
)

Reader = Callable[..., Reading]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Write files, by name, and read them as those of one job."""

    def reader(*order: str, **texts: str) -> Reading:
        paths = []
        for name, text in texts.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(text, encoding="utf-8")
            paths.append(str(path))
        return combined([*order, *paths])

    return reader


def refused(read: Reader, **texts: str) -> str:
    """The one line that the files are refused with."""
    with pytest.raises(RequestError) as error:
        read(**texts)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 480
    return line


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "axolotl__yml": (
        AXOLOTL,
        {
            "model": "meta-llama/Llama-3.1-8B",
            "method": "lora",
            "base_format": "nf4-double",
            "lora_rank": 32,
            "lora_targets": ("all-linear",),
            "seq_len": 4096,
            "packing": "packed",
            "micro_batch": 1,
            "accumulation": 8,
            "epochs": 2,
            "optimizer": "adamw_torch_8bit",
            "autocast": "bf16",
            "attention": "flash",
            "checkpointing": "full",
            "sharding": "fsdp",
            "offload_parameters": True,
            "offload_optimizer": True,
        },
    ),
    "llama_factory__yaml": (
        LLAMA_FACTORY,
        {
            "model": "Qwen/Qwen2.5-7B",
            "method": "lora",
            "objective": "sft",
            "base_format": "nf4-double",
            "lora_rank": 8,
            "lora_targets": ("all-linear",),
            "seq_len": 2048,
            "micro_batch": 2,
            "accumulation": 8,
            "epochs": 3,
            "autocast": "bf16",
            "attention": "flash",
        },
    ),
    "torchtune__yaml": (
        TORCHTUNE,
        {
            "model": "llama3.1-8b",
            "method": "lora",
            "lora_rank": 16,
            "lora_targets": ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"),
            "seq_len": 2048,
            "packing": "packed",
            "micro_batch": 2,
            "accumulation": 4,
            "epochs": 1,
            "optimizer": "paged_adamw_8bit",
            "loss": "chunked",
            "checkpointing": "full",
            "weights_dtype": "bf16",
            "autocast": "",
            "compiled": True,
        },
    ),
    "accelerate__yaml": (ACCELERATE, {"num_gpus": 8, "sharding": "fsdp", "autocast": "bf16"}),
    "ds_z3__json": (DEEPSPEED, {"sharding": "zero-3", "offload_optimizer": True, "offload_parameters": True}),
    "dpo__json": (
        TRL_DPO,
        {
            "model": "Qwen/Qwen2.5-1.5B-Instruct",
            "objective": "dpo",
            "method": "lora",
            "lora_rank": 32,
            "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj"),
            "seq_len": 2048,
            "micro_batch": 2,
            "accumulation": 4,
            "epochs": 1,
            "autocast": "bf16",
        },
    ),
    "trainer__json": (
        TRAINER,
        {"micro_batch": 2, "accumulation": 4, "epochs": 1, "optimizer": "paged_adamw_8bit", "autocast": "bf16"},
    ),
    "grpo__json": (
        GRPO,
        {
            "objective": "grpo",
            "micro_batch": 8,
            "accumulation": 2,
            "seq_len": 1536,
            "completion_len": 1024,
            "num_generations": 16,
            "engine_share": 0.4,
            "engine_sleeps": True,
            "reference": "copy",
        },
    ),
    "adapter_config__json": (
        ADAPTER,
        {
            "model": "mistralai/Mistral-7B-v0.3",
            "method": "lora",
            "lora_rank": 64,
            "lora_dropout": 0.05,
            "lora_targets": ("q_proj", "v_proj"),
        },
    ),
}
"""File -> its text, and by hand what it says."""


@pytest.mark.parametrize("name", SETTINGS)
def test_a_file_of_each_format_is_recognised_and_read(name: str, read: Reader) -> None:
    text, settings = SETTINGS[name]
    found = read(**{name: text})
    assert found.settings == settings
    assert found.unread == found.notes == found.overruled == ()


def test_every_setting_has_the_key_that_it_is_from(read: Reader) -> None:
    keys = {each.setting: each.key for each in read(axolotl__yml=AXOLOTL).stated}
    assert keys["lora_rank"] == "lora_r"
    assert keys["lora_targets"] == "lora_target_linear"
    assert keys["base_format"] == "load_in_4bit"
    assert keys["sharding"] == "fsdp_config.reshard_after_forward"
    assert keys["offload_parameters"] == "fsdp_config.offload_params"
    for text in (AXOLOTL, LLAMA_FACTORY, TORCHTUNE):
        for each in read(a__yml=text).stated:
            assert each.key.rpartition(".")[2] in text


def test_checkpointing_where_no_file_has_it_is_on_in_trl_and_off_in_transformers(read: Reader) -> None:
    """TRL 1.16, trainer/base_config.py: gradient_checkpointing defaults to True; transformers 5.24: to None, which is off."""
    for text, framework, value in ((TRL_DPO, "trl", "full"), (TRAINER, "transformers", "none")):
        found = read(args__json=text)
        assert found.framework == framework
        (filled,) = [each for each in found.filled() if each.setting == "checkpointing"]
        assert (filled.value, filled.framework) == (value, framework) == (recipe(framework).checkpointing, framework)
        assert filled.source == recipe(framework).source


@pytest.mark.parametrize(
    ("given", "base_format"),
    [
        ({"load_in_4bit": True}, "nf4"),
        ({"load_in_4bit": True, "use_bnb_nested_quant": True}, "nf4-double"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "nf4"),
        ({"load_in_8bit": True}, "int8"),
        ({"model_init_kwargs": {"quantization_config": {"load_in_4bit": True, "bnb_4bit_use_double_quant": True}}}, "nf4-double"),
        ({"model_init_kwargs": {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}}, "nf4"),
        ({"model_init_kwargs": {"quantization_config": {"load_in_8bit": True}}}, "int8"),
    ],
)
def test_what_frozen_matrices_are_held_in_is_read_of_trls_two_places(given: dict[str, Any], base_format: str, read: Reader) -> None:
    found = read(args__json=json.dumps({**json.loads(TRL_DPO), **given}))
    assert found.settings["base_format"] == base_format == weight_format(base_format)
    assert found.unread == found.notes == ()


def test_what_adds_to_the_loss_and_is_not_priced_is_noted(read: Reader) -> None:
    smoothed = json.dumps({**json.loads(TRAINER), "label_smoothing_factor": 0.1})
    (note,) = read(args__json=smoothed).notes
    assert note == "the transformers file has label_smoothing_factor = 0.1; priced is: 0"
    assert read(args__json=smoothed.replace("0.1", "0.0")).notes == ()


def test_an_adapter_without_a_rank_has_pefts(read: Reader) -> None:
    peft = pytest.importorskip("peft")
    open_rank = ADAPTER.replace('"r": 64,\n', "")
    assert read(adapter_config__json=open_rank).given()["lora_rank"] == peft.LoraConfig.__dataclass_fields__["r"].default
    assert read(adapter_config__json=open_rank, args__json=TRAINER).given()["lora_rank"] == 8


def test_what_recipes_say_is_what_is_filled_in(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default that tells two frameworks apart is their data: another row, another answer."""
    from estimators.frozen import replace

    rows = {**recipes(), "transformers": replace(recipes()["transformers"], checkpointing="offload")}
    monkeypatch.setattr("estimators.tuning.recipes.recipes", lambda: rows)
    assert {each.setting: each.value for each in read(args__json=TRAINER).filled()}["checkpointing"] == "offload"


def test_what_a_file_states_is_never_filled_in_as_well(read: Reader) -> None:
    for name, text in FILES.items():
        found = read(**{name.replace(".", "__"): text})
        assert not {each.setting for each in found.filled()} & set(found.settings)


def test_defaults_of_a_framework_are_those_that_its_package_has(read: Reader) -> None:
    trl = pytest.importorskip("trl")
    filled = {each.setting: each.value for each in read(args__json='{"num_generations": 8, "output_dir": "out"}').filled()}
    fields = trl.GRPOConfig.__dataclass_fields__
    assert filled["completion_len"] == fields["max_completion_length"].default
    assert filled["reference"] == "none"
    assert fields["beta"].default == 0
    assert read(args__json=TRL_DPO).given()["weights_dtype"] == "fp32"
    assert trl.ModelConfig.__dataclass_fields__["dtype"].default == "float32"
    engine = read(args__json='{"num_generations": 8, "use_vllm": true}').settings["engine_share"]
    assert engine == fields["vllm_gpu_memory_utilization"].default


def test_every_key_of_the_packages_is_known() -> None:
    trl, transformers = pytest.importorskip("trl"), pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    tables = {"activation_checkpointing_kwargs", "gradient_checkpointing_kwargs", "model_init_kwargs", "parallelism_config", "rank_pattern"}
    tables |= {"transformers_continuous_batching_config"}  # a key with a table: what it holds is known by dotted name

    def unknown(name: str, *classes: Any) -> set[str]:
        keys = {key: 1 for each in classes for key in each.__dataclass_fields__}
        return set(FORMATS[name].keys.unknown(keys)) - tables

    assert unknown("transformers", transformers.TrainingArguments) == set()
    assert unknown("llama-factory", transformers.TrainingArguments) == set()
    configs = [getattr(trl, f"{kind}Config") for kind in ("SFT", "DPO", "GRPO", "KTO", "Reward", "RLOO", "Model")]
    assert unknown("trl", *configs) == set()
    assert unknown("adapter", peft.LoraConfig) == set()


@pytest.mark.parametrize("name", FORMATS)
def test_no_key_of_a_format_has_two_meanings(name: str) -> None:
    keys = FORMATS[name].keys
    assert not keys.read & keys.harmless
    assert not {*keys.read, *keys.harmless} & {*keys.refused, *keys.usual}
    assert set(FORMATS[name].rules) <= keys.read


@pytest.mark.parametrize(("kind", "objective"), [("SFT", "sft"), ("DPO", "dpo"), ("GRPO", "grpo"), ("KTO", "kto"), ("Reward", "reward")])
def test_what_a_trainer_writes_of_its_own_arguments_is_read(kind: str, objective: str, read: Reader, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    config = getattr(trl, f"{kind}Config")(output_dir=str(tmp_path), per_device_train_batch_size=8, bf16=False, report_to="none")
    found = read(args__json=config.to_json_string())
    assert found.framework == "trl"
    assert found.unread == ()
    assert found.settings.get("objective", "sft") == objective
    assert (found.settings["micro_batch"], found.settings["checkpointing"], found.settings["autocast"]) == (8, "full", "")
    assert found.settings["optimizer"] == config.optim


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


def test_a_format_can_be_named(read: Reader, tmp_path: Path) -> None:
    path = tmp_path / "args.json"
    path.write_text(TRAINER)
    assert combined([str(path)]).framework == "transformers"
    assert combined([f"trl={path}"]).framework == "trl"
    assert combined([f"TRL={path}"]).framework == "trl"
    with pytest.raises(RequestError, match="not of axolotl, which calls it"):
        combined([f"axolotl={path}"])


def test_what_is_not_known_is_listed_and_a_key_of_another_framework_is_named(read: Reader) -> None:
    found = read(job__yml=AXOLOTL + "mystery: 1\nother: {deep: 2, deeper: [3]}\nvllm_mode: server\n")
    assert [(each.key, each.more) for each in found.unread] == [
        ("mystery", ""),
        ("other.deep", ""),
        ("other.deeper", ""),
        ("vllm_mode", ""),
    ]
    many = read(job__yml=AXOLOTL + "".join(f"mystery_{i}: 1\n" for i in range(100)))
    assert len(many.unread) == 100
    (beside,) = read(ds__json=DEEPSPEED.replace('"bf16"', '"lora_r": 8, "bf16"')).unread
    assert beside.key == "lora_r"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            AXOLOTL + "per_device_train_batch_size: 4\n",
            "job.yml has per_device_train_batch_size, a key of LLaMA-Factory and not of axolotl, which calls it micro_batch_size; "
            "write that",
        ),
        (
            AXOLOTL + "cutoff_len: 4096\n",
            "job.yml has cutoff_len, a key of LLaMA-Factory and not of axolotl, which calls it sequence_len; write that",
        ),
        (
            LLAMA_FACTORY + "micro_batch_size: 4\n",
            "job.yml has micro_batch_size, a key of axolotl and not of LLaMA-Factory, which calls it per_device_train_batch_size; "
            "write that",
        ),
        (
            TORCHTUNE + "lora_r: 4\n",
            "job.yml has lora_r, a key of axolotl and not of torchtune, which calls it model.lora_rank; write that",
        ),
    ],
)
def test_a_key_of_another_framework_is_refused_where_this_one_has_its_own(text: str, line: str, read: Reader) -> None:
    assert refused(read, job__yml=text) == line


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_yaml_is_one_line(name: str, read: Reader) -> None:
    text, said = HOSTILE[name]
    if not said:
        assert [each.key for each in read(job__yml=text).unread] == ["sequence_len.a"]
        return
    assert said in refused(read, job__yml=text)


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_a_hostile_json_is_one_line(name: str, read: Reader) -> None:
    text, said = HOSTILE_JSON[name]
    assert said in refused(read, job__json=text)


def test_a_pickle_is_never_opened_and_the_line_says_how_to_write_json(tmp_path: Path) -> None:
    import pickle

    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    for name, content in (
        ("training_args.bin", pickle.dumps(Runs())),
        ("args.json", pickle.dumps(Runs())),
        ("model.pt", b"PK\x03\x04"),
        ("x.pt", b"{}"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(RequestError, match=rf"{name} is a pickle, a program that loading it runs.*to_json_string\(\)"):
            combined([str(path)])
    assert not (tmp_path / "ran").exists()


def test_a_file_of_100_mb_is_one_line_and_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    with open(path, "wb") as stream:
        stream.truncate(100 * 10**6)
    with pytest.raises(RequestError, match="more than 1,000,000 bytes; expected the configuration of one fine-tuning"):
        combined([str(path)])


def _flat_keys(value: Any, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    keys = [(*place, key) for key in value] if isinstance(value, dict) else []
    return keys + [deeper for key in keys for deeper in _flat_keys(value[key[-1]], key)]


def _without(value: Any, place: Sequence[str]) -> Any:
    head, *rest = place
    return {key: _without(item, rest) if rest and key == head else item for key, item in value.items() if rest or key != head}


@pytest.mark.parametrize("name", FILES)
def test_without_any_one_of_its_keys_a_file_is_still_read_or_refused_in_one_line(name: str, read: Reader) -> None:
    whole = yaml.safe_load(FILES[name])
    for place in _flat_keys(whole):
        answered(read, name, json.dumps(_without(whole, place)))


def answered(read: Reader, name: str, text: str) -> None:
    """Demand that a file is read, or refused in one line."""
    try:
        read(**{name.replace(".", "__"): text}).filled()
    except RequestError as error:
        line = str(error)
    else:
        return
    assert "\n" not in line, text
    assert len(line) < 480, text


PIECES = (
    "0",
    "-1",
    "1e9",
    "true",
    "null",
    "[]",
    "{}",
    '"',
    ":",
    "\n",
    "  ",
    "\t",
    "é",
    "999999999999",
    "auto",
    "&a",
    "*a",
    "- ",
    "!!",
    ".inf",
    "x" * 50,
)


@pytest.mark.parametrize("name", FILES)
def test_200_mutations_of_each_file_give_an_answer_or_one_line(name: str, read: Reader) -> None:
    draw = random.Random(name)
    for _ in range(200):
        text = FILES[name]
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(PIECES) + text[at + draw.choice((0, 0, 1, 3, 20)) :]
        answered(read, name, text)


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
