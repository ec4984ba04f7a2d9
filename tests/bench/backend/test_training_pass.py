"""One forward and backward pass of what people train, counted on meta: as torch's counter sees it of the real model."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from transformers import LlamaForSequenceClassification, LlamaForTokenClassification

from bench.backend.counting.training_pass import count_pass
from estimators.errors import UnavailableError
from tests.support.small_llamas import LLAMA_FLOP, batch, by_torch, llama


def flop(model: nn.Module, *args: Any, recompute: bool = False, **kwargs: Any) -> int:
    counted = count_pass(model, args, kwargs, recompute=recompute)
    assert counted.unseen == ()
    return counted.forward_flop + (counted.backward_flop or 0) + counted.recomputed_flop


def test_a_decoder_as_trainer_calls_it() -> None:
    assert flop(llama(), **batch(num_items_in_batch=torch.tensor(60))) == LLAMA_FLOP


PADDED = torch.tensor([[1] * 16, [1] * 10 + [0] * 6] * 2)
SPECIAL: dict[str, tuple[Any, dict[str, Any]]] = {
    "classifier that looks for the last token": (
        llama(LlamaForSequenceClassification),
        batch(attention_mask=PADDED, labels=torch.tensor([0, 1, 0, 1])),
    ),
    "token classifier": (llama(LlamaForTokenClassification), batch(labels=torch.ones(4, 16, dtype=torch.long))),
    "padded on the left": (llama(), batch(attention_mask=PADDED.flip(1))),
    "packed documents": (llama(), batch(attention_mask=None, position_ids=torch.arange(16).remainder(8)[None].repeat(4, 1))),
    "labels of which some are masked": (llama(), batch(labels=torch.full((4, 16), -100).index_fill(1, torch.arange(8), 3))),
}


@pytest.mark.parametrize("case", SPECIAL)
def test_what_looks_into_its_inputs_goes_the_way_that_it_goes_with_them(case: str) -> None:
    model, given = SPECIAL[case]
    assert flop(model, **given) == by_torch(model, **given)


class Own(nn.Module):
    """Its second part is computed again in backward; torch stops doing so at its last layer."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.a, self.reentrant = nn.Linear(8, 64), reentrant
        self.b = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: torch.Tensor) -> Any:
        h = self.a(x)
        return self.b(h) if self.reentrant is None else torch.utils.checkpoint.checkpoint(self.b, h, use_reentrant=self.reentrant)


@pytest.mark.parametrize(("reentrant", "hardware_flop"), [(None, 204_800), (False, 237_568), (True, 270_336)])
def test_what_a_checkpoint_computes_again_is_of_the_hardware_alone(reentrant: bool | None, hardware_flop: int) -> None:
    """4 rows: 2·4·(8·64 + 2·64²) forward, the first layer's weights and twice the others backward; one or both layers of b again."""
    model, x = Own(reentrant), torch.randn(4, 8)
    assert flop(model, x) == 2 * 4 * (8 * 64 + 2 * 64**2) + 2 * 4 * 8 * 64 + 2 * 2 * 4 * 2 * 64**2 == 204_800
    assert flop(model, x, recompute=True) == hardware_flop


class Drawing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(8, 8)
        self.seen: list[float] = []

    def forward(self, x: torch.Tensor) -> Any:
        self.seen.append(random.random() + float(np.random.rand()) + float(torch.rand([])))
        return self.l(x)


def test_counting_draws_no_number_of_the_users_and_leaves_the_model_alone() -> None:
    model, x = Drawing(), torch.randn(4, 8)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    model(x)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert flop(model, x) == 2 * 2 * 4 * 8 * 8
    model(x)
    assert len(model.seen) == 2, "the twin's forward pass left a trace in the model"
    assert model.seen[0] == model.seen[1]
    assert model.l.weight.grad is None


class Shy(nn.Module):
    """Looks at a number that follows from its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        h = self.l(x)
        return h if h.sum().item() > 0 else 2 * h


def test_a_way_that_depends_on_weights_is_no_guess() -> None:
    with pytest.raises(UnavailableError, match=r"Shy does not run on meta: Tensor.item"):
        flop(Shy(), torch.randn(4, 8))


@torch.library.custom_op("sixnd_test::no_gradient", mutates_args=())
def no_gradient(x: torch.Tensor) -> torch.Tensor:
    return x + 1


@no_gradient.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        return no_gradient(self.l(x))


def test_an_operator_without_a_gradient_is_no_half_count() -> None:
    with pytest.raises(UnavailableError, match=r"Half does not run on meta: .*no autograd formula"):
        flop(Half(), torch.randn(4, 8))


class GivesMore(nn.Module):
    """Its loss needs one of its two results."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.used(x).sum(), "beside": self.unused(x)}


def test_the_gradient_is_that_of_the_loss_where_forward_names_one() -> None:
    """4 rows, 8 x 8: two products forward, and one for the used weights."""
    assert flop(GivesMore(), torch.randn(4, 8)) == 3 * 2 * 4 * 64


def test_hooks_of_the_network_itself_run_and_those_of_others_do_not() -> None:
    normed = nn.utils.weight_norm(nn.Linear(8, 8))
    normed(torch.randn(4, 8))  # leaves a weight behind that is no leaf of a graph, which a plain copy refuses
    seen: list[Any] = []
    normed.register_forward_hook(lambda *given: seen.append(given))
    assert flop(normed, torch.randn(4, 8)) == 2 * 2 * 4 * 64
    assert seen == []


class Mixed(nn.Module):
    """Enters autocast where its tensors are, and is given numbers of another dtype than its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        device = x.device.type
        with torch.autocast(device, dtype=torch.bfloat16):
            x = x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x
            return self.l(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_inside_and_around_a_network_is_no_obstacle(dtype: torch.dtype) -> None:
    assert flop(Mixed(), torch.randn(4, 8, dtype=dtype)) == 2 * 2 * 4 * 64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert flop(nn.Linear(8, 8), torch.randn(4, 8, dtype=dtype)) == 2 * 2 * 4 * 64
    assert torch.is_autocast_enabled("cpu") is False
