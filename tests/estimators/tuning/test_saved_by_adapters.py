"""Activations of a step that trains adapters, or the upper layers alone, are what torch keeps of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.method import TrainingMethod
from estimators.spec import Case, Workload
from estimators.tuning.activations import activations_of
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from tests.support.block_kinds import DENSE, EXPERTS, kind
from tests.support.saved_tensors import inputs_of, real_model, saved_bytes

BATCH, SEQ, RANK = 2, 39, 8
TARGETS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj", "fc1", "fc2", "dense"}


class Adapted(nn.Module):
    """A frozen linear layer and an adapter in fp32 beside it, as peft runs them (tuners/lora/layer.py): y = W·x + B·(A·x)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a, self.b = nn.Linear(base.in_features, RANK, bias=False), nn.Linear(RANK, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x)
        return result + self.b(self.a(x.to(self.a.weight.dtype))) * 2


def adapted_model(config: dict[str, Any], targets: set[str]) -> nn.Module:
    """The model in bf16, frozen, with adapters beside the linear layers of those names."""
    model = real_model(config).to(torch.bfloat16).requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in targets and isinstance(child, nn.Linear):
                setattr(module, name, Adapted(child))
    return model


def said_bytes(config: dict[str, Any], method: TrainingMethod, **changes: Any) -> float:
    """Ours of the same pass: fp32 adapters, under autocast."""
    usual = {"autocast": "bf16", "recipe": recipe("transformers"), "seq_len": SEQ, "method": method}
    job = TuningJob(**({"model": model_from_config(config, "m")} | usual | changes))
    return activations_of(job, SEQ).whole_bytes(BATCH)


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "phi3", "phi", "gpt_neox", "granite", "starcoder2"])
def test_adapters_on_all_linear_layers_keep_what_torch_keeps(model_type: str) -> None:
    names = TARGETS | {"query_key_value", "dense_h_to_4h", "dense_4h_to_h", "c_fc", "c_proj"}
    real, said = [], []
    for depth in (2, 3):
        config = kind(model_type, DENSE[model_type], depth)
        real.append(saved_bytes(adapted_model(config, names), inputs_of(config, BATCH, SEQ)))
        said.append(said_bytes(config, TrainingMethod(rank=RANK, targets=("all-linear",))))
    assert said[1] - said[0] == real[1] - real[0]


def test_adapters_on_queries_and_values_keep_no_input_of_the_frozen_feed_forward() -> None:
    real, said = [], []
    for depth in (2, 3):
        config = kind("llama", DENSE["llama"], depth)
        real.append(saved_bytes(adapted_model(config, {"q_proj", "v_proj"}), inputs_of(config, BATCH, SEQ)))
        said.append(said_bytes(config, TrainingMethod(rank=RANK, targets=("q_proj", "v_proj"))))
    assert said[1] - said[0] == real[1] - real[0]


def frozen_model(config: dict[str, Any], layers: int) -> nn.Module:
    """A Llama in fp32 whose embedding and first layers are frozen."""
    model: Any = real_model(config)
    for module in (model.model.embed_tokens, *model.model.layers[:layers]):
        module.requires_grad_(False)
    return model  # type: ignore[no-any-return]


def test_one_more_frozen_layer_keeps_as_much_less_as_in_torch() -> None:
    config = kind("llama", DENSE["llama"], 6)
    real = [saved_bytes(frozen_model(config, layers), inputs_of(config, BATCH, SEQ), autocast=False) for layers in (3, 4)]
    said = [said_bytes(config, TrainingMethod(frozen_layers=layers), weights_dtype="fp32", autocast="") for layers in (3, 4)]
    assert said[0] - said[1] == real[0] - real[1] > 0


def test_frozen_layers_keep_nothing_and_the_loss_is_that_of_the_whole_model() -> None:
    config = kind("llama", DENSE["llama"], 6)
    model = model_from_config(config, "m")
    whole, half, two = (
        estimate(Case(model=model, workload=Workload(phase="train", batch=BATCH, seq_len=SEQ), method=method)).memory_bytes
        for method in (TrainingMethod(frozen_layers=0), TrainingMethod(frozen_layers=3), TrainingMethod(frozen_layers=4))
    )
    assert 0 < whole["activations"] - half["activations"] == 3 * (half["activations"] - two["activations"])
    assert whole["logits"] == half["logits"] == two["logits"]


def test_adapters_beside_experts_keep_less_than_those_on_all_linear_layers() -> None:
    config = kind("mixtral", EXPERTS["mixtral"], 2)
    one, every = (said_bytes(config, TrainingMethod(rank=RANK, targets=(word,))) for word in ("q_proj", "all-linear"))
    assert 0 < one < every
