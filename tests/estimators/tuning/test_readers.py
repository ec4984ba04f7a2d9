"""Configuration files of fine-tunings: what is read, what the framework fills in, what is named as unread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estimators.errors import RequestError
from estimators.tuning.memory import memory_of_job
from estimators.tuning.readers.job_files import combined
from estimators.tuning.readers.one_file import FORMATS
from estimators.tuning.recipes import recipe, recipes
from estimators.tuning.settings import OF_RUN, job_of
from estimators.tuning.weights import adapters_are_wide
from estimators.validation.model import shipped_model
from estimators.weight_formats import weight_format
from tests.support.tuning_files import (
    ACCELERATE,
    ADAPTER,
    AXOLOTL,
    DEEPSPEED,
    FILES,
    GRPO,
    LLAMA_FACTORY,
    TORCHTUNE,
    TRAINER,
    TRL_DPO,
    Reader,
    refused,
)

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


def test_a_model_that_trl_loads_by_name_is_fp32_in_its_recipe_as_in_its_files(read: Reader) -> None:
    """TRL 1.16, trainer/utils.py, create_model_from_path: float32 unless dtype is set."""
    assert read(args__json=TRL_DPO).given()["weights_dtype"] == recipe("trl").weights_dtype == "fp32"


@pytest.mark.parametrize("more", [{}, {"load_in_4bit": True}, {"dtype": "bfloat16"}], ids=["LoRA", "QLoRA", "dtype"])
def test_trls_files_mean_the_job_that_its_recipe_means(more: dict[str, Any], read: Reader) -> None:
    """TRL 1.16: a model that is given by name is loaded in fp32 unless dtype is set (create_model_from_path), whatever is trained;
    adapters are fp32, bf16 beside quantised weights (SFTTrainer)."""
    given = read(args__json=json.dumps({"model_name_or_path": "gpt2", "use_peft": True, "max_length": 512, "lora_r": 8} | more)).given()
    model, trl = shipped_model("gpt-2"), recipe("trl")
    from_file = job_of(model, trl, {name: value for name, value in given.items() if name not in OF_RUN})
    stated: dict[str, Any] = {"method": "lora", "lora_rank": 8, "seq_len": 512}
    stated |= {"base_format": "nf4"} if "load_in_4bit" in more else {"weights_dtype": "bf16"} if "dtype" in more else {}
    assert memory_of_job(from_file).allocated_bytes == memory_of_job(job_of(model, trl, stated)).allocated_bytes
    assert from_file.weights_dtype == ("bf16" if "dtype" in more else "fp32")
    assert adapters_are_wide(from_file) == ("load_in_4bit" not in more)


def test_defaults_of_a_framework_are_those_that_its_package_has(read: Reader) -> None:
    trl = pytest.importorskip("trl")
    filled = {each.setting: each.value for each in read(args__json='{"num_generations": 8, "output_dir": "out"}').filled()}
    fields = trl.GRPOConfig.__dataclass_fields__
    assert filled["completion_len"] == fields["max_completion_length"].default
    assert filled["reference"] == "none"
    assert fields["beta"].default == 0
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
