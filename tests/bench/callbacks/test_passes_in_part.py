"""Passes of a part of a model's outputs, one batch run twice by a Trainer: what is counted is what ran, or there is a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer

from bench.callbacks import SixndCallback
from tests.support.loops_of_ones_own import flop, tiny_llama, train, usual_step
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import trainer
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]


class TwoPasses(Trainer):
    """Every batch goes through the model twice."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        first, second = model(**inputs), model(**inputs)
        loss = (first.loss + second.loss) / 2
        return (loss, first) if return_outputs else loss


def test_one_batch_run_twice_in_a_trainers_step_is_counted_once_and_its_passes_twice(tmp_path: Path) -> None:
    """W14, by hand: 3 steps of 4 x 16 tokens, two passes of 9,437,184 FLOP each."""
    ids = torch.randint(0, 64, (16,), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}] * 12
    callback = SixndCallback(out=tmp_path / "runs", ceilings=CEILINGS)
    options: dict[str, Any] = {"per_device_train_batch_size": 4, "max_steps": 3, "include_num_input_tokens_seen": "all"}
    made = trainer(tmp_path, callback, kind=TwoPasses, model=tiny_llama(), **options)
    made.train_dataset = rows
    made.train()
    record = only_record(tmp_path / "runs")
    assert record.proof.num_tokens == made.state.num_input_tokens_seen == 192
    assert flop(record)[0] == 2 * 3 * 9_437_184 == 56_623_104


class Heads(nn.Module):
    """A trunk and three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.heads = nn.Linear(8, 16), nn.ModuleList(nn.Linear(16, 2) for _ in range(3))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        h = torch.relu(self.trunk(x))
        return [head(h) for head in self.heads]


def test_a_loss_of_all_heads_is_counted(tmp_path: Path) -> None:
    made = train(tmp_path, Heads(), X, usual_step(lambda network, x: sum(head.square().mean() for head in network(x))))  # type: ignore[arg-type,return-value]
    # By hand: 2·4·8·16 and three times 2·4·16·2 forward; as much for the weights, and 3·256 for what the trunk gave.
    assert flop(made)[0] == 4 * (2 * (1_024 + 3 * 256) + 3 * 256)


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_loss_of_some_heads_is_not_taken_for_one_of_all(left_out: int, tmp_path: Path) -> None:
    def loss_of(network: Any, x: torch.Tensor) -> Any:
        return sum(head.square().mean() for number, head in enumerate(network(x)) if number != left_out)

    made = train(tmp_path, Heads(), X, usual_step(loss_of))
    assert flop(made) == (None, None)
    assert "a part of the gradients" in made.unavailable["training_flop"]
