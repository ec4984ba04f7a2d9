"""A fine-tuning job says what it is made of, refuses what makes no sense, and fills its gaps from a framework's recipe."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest

from estimators.errors import BadValueError, UnknownNameError
from estimators.memory.optimizers import OPTIMIZERS, optimizer
from estimators.method import TrainingMethod
from estimators.tuning.job import Sharding, TuningJob
from estimators.tuning.recipes import recipe, recipes
from estimators.validation.model import shipped_model


def job(**changes: Any) -> TuningJob:
    return TuningJob(**({"model": shipped_model("gpt2"), "recipe": recipe("trl"), "seq_len": 512} | changes))


def test_a_step_has_the_samples_of_its_passes_and_devices() -> None:
    one = job(micro_batch=2, accumulation=4, sharding="ddp", num_gpus=8)
    assert (one.micro_batch_tokens, one.samples_per_step) == (2 * 512, 2 * 4 * 8)
    assert job(micro_batch=2, accumulation=4, sharding="device-map", num_gpus=8).samples_per_step == 8


@pytest.mark.parametrize("objective", ["dpo", "orpo", "reward"])
def test_a_pair_is_two_rows(objective: str) -> None:
    assert job(objective=objective, micro_batch=3).rows == 6


def test_kto_and_sft_have_a_row_a_sample() -> None:
    assert job(objective="kto", micro_batch=3).rows == job(micro_batch=3).rows == 3


def test_products_run_in_what_autocast_says() -> None:
    assert job(weights_dtype="fp32", autocast="bf16").dtype == "bf16"
    assert job(weights_dtype="fp32").dtype == "fp32"


@pytest.mark.parametrize("sharding", [each for each in get_args(Sharding) if each.startswith("zero")])
def test_deepspeed_holds_fp32_weights_beside_16_bit_ones(sharding: str) -> None:
    assert job(sharding=sharding, num_gpus=2).has_fp32_masters
    assert not job(sharding=sharding, num_gpus=2, weights_dtype="fp32").has_fp32_masters


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "ppo"}, "objective is 'ppo'; expected one of: sft, dpo"),
        ({"micro_batch": 0}, "micro_batch is 0; expected a whole number from 1"),
        ({"num_gpus": 2}, "2 devices that share nothing are ddp"),
        ({"weights_dtype": "int3"}, "weights in int3"),
        ({"lora_dropout": 1.0}, "dropout 1.0"),
        ({"saved_modules": ("norm",)}, "saved modules norm"),
        ({"method": TrainingMethod(base_format="nf4")}, "weights stored as nf4 are not trained; give a rank"),
    ],
)
def test_what_is_no_job_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        job(**changes)


def test_quantised_weights_may_be_run_without_adapters() -> None:
    assert job(method=TrainingMethod(base_format="nf4"), objective="inference").method.base_format == "nf4"


def test_every_recipe_is_sourced_and_names_an_optimizer_that_exists() -> None:
    for each in recipes().values():
        assert each.source
        assert optimizer(each.optimizer).name in OPTIMIZERS


def test_the_newest_recipe_of_a_framework_has_its_name_and_versions_choose() -> None:
    for framework in {each.framework for each in recipes().values()} - {"fms-hf-tuning"}:
        assert recipe(framework).id == framework
    assert recipe("trl", "0.9.6").id == "trl-0"
    assert recipe("litgpt", "0.3").id == "litgpt-2023"
    assert recipe("Transformers", "4.57.1").id == "transformers-4"


@pytest.mark.parametrize("framework", sorted({"unknown", "trl", "transformers", "litgpt"}))
def test_no_version_has_two_recipes(framework: str) -> None:
    rows = [each for each in recipes().values() if each.framework == framework]
    bounds = sorted((each.first_version or "0", each.before_version or "99") for each in rows)
    assert all(float(before) <= float(first) for (_, before), (first, _) in itertools.pairwise(bounds))


def test_an_unknown_framework_and_a_version_that_is_none_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'torchtune'"):
        recipe("torchtun")
    with pytest.raises(BadValueError, match="'new' is no version"):
        recipe("trl", "new")


def test_frameworks_differ_where_the_same_words_differ_by_two() -> None:
    """TRL 1.16 checkpoints and runs head and loss in chunks; transformers does neither unless told."""
    assert (recipe("trl").checkpointing, recipe("trl").loss) == ("full", "chunked")
    assert (recipe("transformers").checkpointing, recipe("transformers").loss) == ("none", "plain-kept")
