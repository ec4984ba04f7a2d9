"""Networks whose forward is not one call on the first of a batch: counted by what it is given, or by a function of one step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.callbacks import watch
from tests.support.small_llamas import LLAMA_FLOP, batch, llama
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]
SMALL_FLOP = 4 * 2_816
"""Four passes of 4 rows through 8 -> 16 -> 2 by hand: 1,280 forward, 1,024 and 512 back: none for the inputs."""


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


def flop(folder: Path, model: nn.Module, data: list[Any], loss_of: Callable[[Any, Any], torch.Tensor], **options: Any) -> int | None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for given in (watched := watch(data, model, out=folder, every=0, ceilings=False, **options)):
        loss = loss_of(model, given)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        watched.loss(loss)
    found: int | None = only_record(folder).proof.watched.training_flop
    return found


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = small()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.l(a + b)


class OfADict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = small()

    def forward(self, batch: dict[str, torch.Tensor]) -> Any:
        return self.l(batch["x"])


class Wraps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.m = llama()

    def forward(self, **named: Any) -> Any:
        return self.m(**named)


def test_several_arguments_are_taken_from_a_tuple_by_position(tmp_path: Path) -> None:
    assert flop(tmp_path, Two(), [(x, x, x) for x in X], lambda net, b: net(b[0], b[1]).pow(2).mean()) == SMALL_FLOP


@pytest.mark.parametrize("inputs", [None, lambda b: b, lambda b: [b], lambda b: (b,)])
def test_a_dictionary_that_is_the_only_argument_is_given_whole_whatever_a_loop_says_of_its_inputs(tmp_path: Path, inputs: Any) -> None:
    assert flop(tmp_path, OfADict(), [{"x": x} for x in X], lambda net, b: net(b).pow(2).mean(), inputs=inputs) == SMALL_FLOP


def test_arguments_that_are_named_in_the_call_are_those_of_the_pass(tmp_path: Path) -> None:
    data = [{"left": x, "right": x} for x in X]
    assert flop(tmp_path, Two(), data, lambda net, b: net(b=b["left"], a=b["right"]).pow(2).mean()) == SMALL_FLOP


def test_a_wrapper_that_hands_everything_on_loses_no_token(tmp_path: Path) -> None:
    assert flop(tmp_path, Wraps(), [batch()] * 2, lambda net, b: net(**b).loss) == 2 * LLAMA_FLOP


def adversaries() -> nn.ModuleDict:
    return nn.ModuleDict({"g": small(), "d": nn.Linear(2, 1)})


def generator_loss(gan: Any, x: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = gan["d"](gan["g"](x)).pow(2).mean()
    return loss


def discriminator_loss(gan: Any, x: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = gan["d"](gan["g"](x).detach()).pow(2).mean()
    return loss


def test_a_function_says_what_a_step_of_several_networks_computes(tmp_path: Path) -> None:
    """By hand, beside the generator's 2,816: the discriminator, 2·4·2·1 forward, as much for its weights and for its input."""
    assert flop(tmp_path, adversaries(), X, generator_loss, forward=generator_loss) == 4 * (2_816 + 3 * 16)


def both_losses(gan: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return discriminator_loss(gan, x), generator_loss(gan, x)


def own_backward(gan: Any, x: torch.Tensor) -> None:
    for loss in (discriminator_loss(gan, x), generator_loss(gan, x)):
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("forward", [both_losses, own_backward])
def test_several_losses_are_returned_or_taken_the_gradient_of(tmp_path: Path, forward: Any) -> None:
    """And for the discriminator's own loss the generator's forward pass, its own, and its weights' gradient."""
    expected = 4 * (2_816 + 3 * 16 + 1_280 + 2 * 16)
    assert flop(tmp_path, adversaries(), X, lambda gan, x: sum(both_losses(gan, x)), forward=forward) == expected


def test_what_is_called_inside_a_container_is_seen_without_a_word(tmp_path: Path) -> None:
    assert flop(tmp_path, adversaries(), X, generator_loss) == 4 * (2_816 + 3 * 16)
