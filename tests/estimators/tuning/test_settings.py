"""A job by named settings: what is given goes before what a recipe has, and a file's settings make the job that the file describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.method import TrainingMethod
from estimators.tuning.job import Offload, TuningJob
from estimators.tuning.readers.job_files import combined
from estimators.tuning.recipes import recipe, recipes
from estimators.tuning.settings import NAMES, defaults, job_of
from estimators.validation.model import shipped_model
from tests.support.tuning_files import FILES

MODEL = shipped_model("gpt2")  # 12 layers


def job_in(name: str, text: str, folder: Path, **more: Any) -> TuningJob:
    path = folder / name
    path.write_text(text)
    found = combined([str(path)])
    assert set(found.given()) <= set(NAMES)
    return job_of(MODEL, recipe(found.framework or "unknown"), {**found.given(), **more})


def test_axolotls_job_is_the_one_of_its_file(tmp_path: Path) -> None:
    job = job_in("axolotl.yml", FILES["axolotl.yml"], tmp_path, num_gpus=4)
    assert job == TuningJob(
        model=MODEL,
        method=TrainingMethod(rank=32, targets=("all-linear",), base_format="nf4-double"),
        recipe=recipe("axolotl"),
        weights_dtype="bf16",
        autocast="bf16",
        micro_batch=1,
        seq_len=4096,
        accumulation=8,
        packing="packed",
        optimizer="adamw_torch_8bit",
        checkpointing="full",
        attention="flash",
        loss="plain-kept",
        sharding="fsdp",
        num_gpus=4,
        offload=Offload(optimizer=True, parameters=True),
    )


def test_dpo_with_adapters_has_its_reference_in_the_same_weights(tmp_path: Path) -> None:
    job = job_in("dpo.json", FILES["dpo.json"], tmp_path)
    assert (job.objective, job.reference, job.rows, job.checkpointing, job.loss) == ("dpo", "adapters-off", 4, "full", "chunked")
    whole = job_in("dpo.json", FILES["dpo.json"].replace('"use_peft": true', '"use_peft": false'), tmp_path)
    assert (whole.reference, whole.method) == ("copy", TrainingMethod())


@pytest.mark.parametrize("name", FILES)
def test_every_file_makes_a_job(name: str, tmp_path: Path) -> None:
    assert job_in(name, FILES[name], tmp_path, seq_len=128).seq_len == 128


@pytest.mark.parametrize("framework", recipes())
def test_what_is_given_goes_before_what_a_recipe_has(framework: str) -> None:
    given: dict[str, Any] = {
        "method": "lora",
        "lora_rank": 3,
        "optimizer": "sgd",
        "checkpointing": "offload",
        "seq_len": 7,
        "micro_batch": 5,
    }
    job = job_of(MODEL, recipe(framework), given)
    assert (job.method.rank, job.optimizer, job.checkpointing, job.seq_len, job.micro_batch) == (3, "sgd", "offload", 7, 5)
    assert not set(defaults(recipe(framework), given)) & set(given)
    assert job.is_recipe_assumed == (framework == "unknown")


def test_frozen_layers_are_those_below_the_trained_ones() -> None:
    assert job_of(MODEL, recipe("llama-factory"), {"method": "freeze", "trained_layers": 2}).method == TrainingMethod(frozen_layers=10)
    with pytest.raises(BadValueError, match="13 layers of gpt2 are trained; expected 0 to 12"):
        job_of(MODEL, recipe("llama-factory"), {"method": "freeze", "trained_layers": 13})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing says how long the longest sample is; give --seq-len"),
        ({"colour": "red"}, "settings colour are unknown; expected some of: objective"),
        ({"method": "magic", "seq_len": 8}, "method is 'magic'; expected full, lora or freeze"),
        ({"base_format": "nf4", "seq_len": 8}, "weights stored as nf4 are not trained"),
        ({"attention": "fast", "seq_len": 8}, "attention is 'fast'; expected one of: sdpa, flash, eager"),
    ],
)
def test_what_makes_no_job_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        job_of(MODEL, recipe("transformers"), given)


def test_several_devices_that_nothing_is_said_of_hold_a_copy_each() -> None:
    assert job_of(MODEL, recipe("trl"), {"num_gpus": 4}).sharding == "ddp"
