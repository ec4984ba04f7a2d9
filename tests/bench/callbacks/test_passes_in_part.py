"""Losses of some of a model's outputs, one batch run twice by a Trainer: what is counted is what ran."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, Trainer

from bench.callbacks import SixndCallback, from_outputs, gradient_graph, pass_hooks
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


@pytest.mark.parametrize("heads", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_a_loss_of_some_heads_is_counted_as_theirs(heads: tuple[int, ...], tmp_path: Path) -> None:
    def loss_of(network: Any, x: torch.Tensor) -> Any:
        made = network(x)
        return sum(made[number].square().mean() for number in heads)

    made = train(tmp_path, Heads(), X, usual_step(loss_of))
    # By hand: all of forward, 1,024 + 3·256; back, the trunk's weights 1,024, and for each head 256 for its weights and 256 for the trunk.
    assert flop(made)[0] == 4 * (1_024 + 3 * 256 + 1_024 + len(heads) * 2 * 256)


def test_heads_that_take_turns_are_each_counted(tmp_path: Path) -> None:
    turns = itertools.cycle([(0,), (0, 1, 2)])

    def loss_of(network: Any, x: torch.Tensor) -> Any:
        made = network(x)
        return sum(made[number].square().mean() for number in next(turns))

    made = train(tmp_path, Heads(), X, usual_step(loss_of))
    assert flop(made)[0] == 2 * (1_792 + 1_024 + 512) + 2 * (1_792 + 1_024 + 1_536)


def test_a_backward_pass_for_each_head_is_counted_apart(tmp_path: Path) -> None:
    def step(network: Any, x: torch.Tensor, optimizer: Any) -> Any:
        losses = [head.square().mean() for head in network(x)]
        for loss in losses:
            loss.backward(retain_graph=True)
        optimizer.step()
        optimizer.zero_grad()
        return sum(losses)

    made = train(tmp_path, Heads(), X, step)
    assert flop(made)[0] == 4 * (1_792 + 3 * (1_024 + 512))


def test_gradients_of_a_part_of_the_parameters_behind_a_head_are_not_taken_for_all(tmp_path: Path) -> None:
    def step(network: Any, x: torch.Tensor, optimizer: Any) -> Any:
        loss = network(x)[1].square().mean()
        for parameter, gradient in zip(
            network.heads[1].parameters(), torch.autograd.grad(loss, network.heads[1].parameters()), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
        return loss

    made = train(tmp_path, Heads(), X, step)
    assert flop(made) == (None, None)
    assert "a part of the gradients" in made.unavailable["training_flop"]


def test_embeddings_by_a_mean_are_counted_though_the_pooler_is_not_trained(tmp_path: Path) -> None:
    """As sentence encoders are trained; by torch's counter on the real model."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 64}
    network = BertModel(BertConfig(**sizes, attn_implementation="eager"))  # type: ignore[no-untyped-call]
    tokens = [torch.randint(0, 64, (4, 16), generator=torch.Generator().manual_seed(i)) for i in range(3)]

    def loss_of(network: Any, ids: torch.Tensor) -> Any:
        return network(input_ids=ids).last_hidden_state.mean(1).square().mean()

    with FlopCounterMode(display=False) as counter:
        loss_of(network, tokens[0]).backward()
    made = train(tmp_path, network, tokens, usual_step(loss_of))
    assert flop(made)[0] == 3 * counter.get_total_flops()


def test_hidden_states_that_lie_on_the_way_to_the_loss_change_nothing(tmp_path: Path) -> None:
    ids = torch.randint(0, 64, (4, 16), generator=torch.Generator().manual_seed(0))
    counts = []
    for shows in (False, True):

        def loss_of(network: Any, ids: torch.Tensor, shows: bool = shows) -> Any:
            return network(input_ids=ids, labels=ids, output_hidden_states=shows).loss

        counts.append(flop(train(tmp_path / str(shows), tiny_llama(), [ids] * 2, usual_step(loss_of)))[0])
    assert counts[0] == counts[1] == 2 * 9_437_184


@pytest.mark.parametrize("what", ["PassHooks._backward_from", "BegunFrom.event", "Ends.is_whole"])
def test_whatever_fails_there_the_training_goes_on(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a meter")

    kinds = {"PassHooks": pass_hooks.PassHooks, "BegunFrom": from_outputs.BegunFrom, "Ends": gradient_graph.Ends}
    kind, _, name = what.partition(".")
    monkeypatch.setattr(kinds[kind], name, broken)
    network = Heads()
    made = train(tmp_path, network, X, usual_step(lambda network, x: network(x)[1].square().mean()))  # type: ignore[index]
    assert (made.status, made.proof.num_steps) == ("complete", 4)
    assert flop(made) == (None, None)
    assert made.unavailable["training_flop"] == "RuntimeError: a meter"
