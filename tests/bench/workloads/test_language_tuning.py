"""What a fine-tuning holds of weights, gradients, optimizer state and activations is what its job says, to the byte.

Witness: torch's own tensors after a step, and torch.autograd.graph.saved_tensors_hooks during its forward pass.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.backend.training_evidence import SampledParameters
from tests.support.tuned_models import held_and_said, tuning_run

pytestmark = pytest.mark.usefixtures("one_thread")

FULL: dict[str, dict[str, Any]] = {
    "bf16": {},
    "fp32 under autocast": {"precision": "fp32-bf16", "optimizer": "sgd"},
    "fp32": {"precision": "fp32", "optimizer": "adamw_torch"},
    "checkpoints": {"recompute": "full", "optimizer": "adafactor"},
    "fp32 and checkpoints": {"precision": "fp32-bf16", "recompute": "full"},
}
ADAPTERS: dict[str, dict[str, Any]] = {
    "queries and values": {"lora_rank": 4},
    "all": {"lora_targets": ("all-linear",)},
    "without autocast": {"lora_targets": ("all-linear",), "precision": "pure-bf16"},
    "over fp32": {"lora_targets": ("all-linear",), "precision": "fp32-bf16"},
    "checkpoints": {"lora_targets": ("all-linear",), "recompute": "full"},
    "dropout": {"lora_targets": ("all-linear",), "lora_dropout": 0.1},
}
DENSE = ("llama", "qwen3", "gpt2", "gemma2")
FAST = ("llama", "gemma2")


def each(families: tuple[str, ...], ways: dict[str, dict[str, Any]], fast: tuple[str, ...]) -> list[Any]:
    """Every family in every way; those that are not fast are slow."""
    return [
        pytest.param(family, way, id=f"{family}, {name}", marks=[] if family in fast else [pytest.mark.slow])
        for family in families
        for name, way in ways.items()
        if not (family == "gemma2" and "recompute" in way)  # masks that its layers are given are left out
    ]


@pytest.mark.parametrize(("family", "way"), each(DENSE, FULL, FAST))
def test_a_full_fine_tuning_holds_what_its_job_says(family: str, way: dict[str, Any]) -> None:
    held, said = held_and_said(family, method="full", **way)
    assert held.parts_bytes == said
    assert said["gradients"] == held.trained_params * (4 if "fp32" in way.get("precision", "") else 2)


@pytest.mark.parametrize(("family", "way"), each(DENSE, ADAPTERS, ("llama",)))
def test_adapters_hold_what_their_job_says(family: str, way: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    held, said = held_and_said(family, method="lora", **way)
    assert held.parts_bytes == said
    assert said["adapters"] == said["gradients"] == 4 * held.trained_params


@pytest.mark.parametrize(
    "way", [{"base_format": "nf4"}, {"base_format": "nf4-double", "precision": "pure-bf16"}, {"recompute": "full"}], ids=str
)
def test_a_quantised_base_holds_what_its_job_says(way: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")
    held, said = held_and_said("llama", method="qlora", lora_targets=("all-linear",), **way)
    assert held.parts_bytes == said


@pytest.mark.slow
def test_biases_beside_a_quantised_base_are_of_what_they_are_added_to() -> None:
    """bitsandbytes casts them at their first use: 2 bytes fewer for each than as peft prepares them."""
    pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")
    held, said = held_and_said("gpt2", method="qlora", lora_targets=("all-linear",))
    assert said["weights"] - held.parts_bytes["weights"] == 2 * 3 * (192 + 64 + 256 + 64)
    assert {**held.parts_bytes, "weights": 0} == {**said, "weights": 0}


def test_8_bit_state_is_counted_without_the_maps_that_all_tensors_share() -> None:
    pytest.importorskip("bitsandbytes")
    for _ in range(2):  # bitsandbytes remembers an earlier model's fp32 tables by their place in its optimizer
        held, said = held_and_said("gemma2", method="full", precision="fp32", optimizer="adamw_8bit")
        assert held.parts_bytes["optimizer"] == said["optimizer"]


def test_experts_are_followed_in_outline_and_that_is_said() -> None:
    from estimators.tuning.countable import why_not_exact

    run = tuning_run("mixtral", method="full")
    assert run.job is not None
    assert why_not_exact(run.job) == "experts are followed in outline"


def test_a_step_too_small_for_gains_of_16_bits_is_evidence_by_matrices() -> None:
    """In bf16 the number below 1 is 1 - 2^-8: a step of 1e-4 does not lead there, and moves weights of 0.02, whose spacing is 2^-13."""
    layer = torch.nn.Linear(4, 4, dtype=torch.bfloat16)
    layer.weight.data.fill_(0.02)
    layer.bias.data.fill_(1.0)
    both, matrices = SampledParameters(layer), SampledParameters(layer, matrices_alone=True)
    for parameter in layer.parameters():
        parameter.data -= 1e-4
    assert (both.unchanged(), both.changed(), matrices.changed()) == (("bias",), False, True)
