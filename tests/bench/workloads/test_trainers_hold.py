"""Fine-tunings by transformers' Trainer and by TRL's SFTTrainer hold what `fit` says that the same job holds, to the byte.

Witness: torch's tensors when the training is over, and torch.autograd.graph.saved_tensors_hooks in the last step's forward pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from bench.backend.steps.held_memory import Kept, num_trained, state_bytes
from bench.backend.tuned_model import stored_bytes
from estimators.architectures.from_config import model_from_config
from estimators.method import FULL, TrainingMethod
from estimators.tuning.countable import countable_bytes
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from tests.support.small_llamas import LENGTH, ROWS, SMALL, Texts, llama
from tests.support.word_tokenizer import word_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

RANK = 4
DIVISOR_BYTES = 8
"""The Trainer's loss is a sum over a number of tokens that it hands on: the divisor is kept, and no weight of a mean."""


def counting(kind: Any) -> Any:
    """A Trainer that counts what the forward pass of each step leaves for backward; the last step's stays."""

    class Counting(kind):  # type: ignore[misc]
        def compute_loss(self, model: nn.Module, *args: Any, **named: Any) -> Any:
            kept = Kept(model)
            with kept.watching():
                loss = super().compute_loss(model, *args, **named)
            self.kept_bytes = kept.parts_bytes()
            return loss

    return Counting


def held(trainer: Any, *, adapters: bool) -> dict[str, int]:
    """Parts of a training that is over; gradients are gone, and are as large as what is trained."""
    parameters = list(trainer.model.parameters())
    trained = sum(stored_bytes(parameter) for parameter in parameters if parameter.requires_grad)
    return {
        "weights": sum(map(stored_bytes, parameters)) - (trained if adapters else 0),
        "adapters": trained if adapters else 0,
        "gradients": trained,
        "optimizer": state_bytes(trainer.optimizer.state),
        **trainer.kept_bytes,
    }


def arguments(folder: Path, kind: Any = TrainingArguments, **more: Any) -> Any:
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "max_steps": 2}
    return kind(output_dir=str(folder), per_device_train_batch_size=ROWS, **(quiet | more))


def said(**changes: Any) -> dict[str, int]:
    usual = {"recipe": recipe("transformers"), "seq_len": LENGTH, "micro_batch": ROWS, "weights_dtype": "fp32", "method": FULL}
    model = model_from_config({"model_type": "llama", **SMALL}, "a tiny llama")
    return countable_bytes(TuningJob(**({"model": model} | usual | changes)), on_cpu=True)


def agree(trainer: Any, job: dict[str, int], *, adapters: bool) -> None:
    trainer.train()
    found = held(trainer, adapters=adapters)
    assert abs(found.pop("loss") - job.pop("loss")) <= DIVISOR_BYTES
    assert found == job
    assert num_trained(trainer.model) == job["gradients"] // 4


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        ({}, {}),
        ({"bf16": True}, {"autocast": "bf16"}),
        ({"optim": "adafactor"}, {"optimizer": "adafactor"}),
    ],
    ids=["fp32", "autocast", "adafactor"],
)
def test_a_full_fine_tuning_by_the_trainer(named: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    trainer = counting(Trainer)(llama(), arguments(tmp_path, **named), train_dataset=Texts())
    agree(trainer, said(**changes), adapters=False)


class Beside(nn.Module):
    """y = W·x + B·(A·x), W frozen: an adapter by hand, of the dtype of its weights (Hu et al. 2021, section 4.1)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a, self.b = (nn.Linear(*shape, bias=False) for shape in ((base.in_features, RANK), (RANK, base.out_features)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base(x) + self.b(self.a(x))
        return out


def test_adapters_by_hand_under_the_trainer(tmp_path: Path) -> None:
    model = llama().requires_grad_(False)
    for layer in model.model.layers:
        layer.self_attn.q_proj, layer.self_attn.v_proj = Beside(layer.self_attn.q_proj), Beside(layer.self_attn.v_proj)
    trainer = counting(Trainer)(model, arguments(tmp_path), train_dataset=Texts())
    agree(trainer, said(method=TrainingMethod(rank=RANK)), adapters=True)


@pytest.mark.parametrize(
    ("named", "changes"), [({}, {}), pytest.param({"bf16": True}, {"autocast": "bf16"}, marks=pytest.mark.slow)], ids=["fp32", "autocast"]
)
def test_lora_by_the_trainer(named: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(llama(), peft.LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    trainer = counting(Trainer)(model, arguments(tmp_path, **named), train_dataset=Texts())
    agree(trainer, said(method=TrainingMethod(rank=RANK, targets=("all-linear",)), **changes), adapters=True)


@pytest.mark.slow
def test_lora_by_trl(tmp_path: Path) -> None:
    """All but the loss is the same; TRL's fused head keeps no logits, but the fp32 gradient of its input, and what tells tokens."""
    peft, trl, datasets = (pytest.importorskip(name) for name in ("peft", "trl", "datasets"))
    rows = [{name: value.tolist() for name, value in Texts()[i].items()} for i in range(2 * ROWS)]
    as_they_are = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    trainer = counting(trl.SFTTrainer)(
        llama(),
        arguments(tmp_path, trl.SFTConfig, gradient_checkpointing=False, bf16=False, **as_they_are),
        train_dataset=datasets.Dataset.from_list(rows),
        peft_config=peft.LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        processing_class=word_tokenizer(),
    )
    trainer.train()
    found = held(trainer, adapters=True)
    job = said(method=TrainingMethod(rank=RANK, targets=("all-linear",)))
    of_loss = found.pop("activations") - job.pop("activations")
    gradient = 4 * ROWS * LENGTH * SMALL["hidden_size"]
    assert gradient <= of_loss <= gradient + 16 * ROWS * LENGTH
    assert found | {"loss": 0} == job | {"loss": 0}
