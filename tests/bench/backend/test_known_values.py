"""Values on meta: known where they follow from what was given, unknown where they follow from weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.backend import known_values
from bench.backend.counting.training_pass import count_pass
from bench.backend.known_values import KnownValues

MASK = torch.tensor([True, False, True, True])


@pytest.fixture
def known() -> Iterator[KnownValues]:
    with KnownValues() as mode:
        yield mode


def test_what_was_given_in_whole_numbers_can_be_looked_at(known: KnownValues) -> None:
    mask = known.stand_in(MASK)
    assert mask.is_meta
    assert mask.tolist() == MASK.tolist()
    assert (int(mask.sum()), bool(mask.all()), mask.cpu().device.type) == (3, False, "cpu")


def test_so_can_constants_and_what_follows_from_both(known: KnownValues) -> None:
    positions = torch.arange(8, device="meta").remainder(4)
    ends = torch.where(positions.diff() != 1)[0] + 1
    assert ends.tolist() == [4]
    view = positions.clone()
    view[2:4].fill_(9)
    assert view.tolist() == [0, 1, 9, 9, 0, 1, 2, 3]


def test_shapes_follow_from_known_masks_also_of_what_is_not_known(known: KnownValues) -> None:
    x, mask = known.stand_in(torch.randn(4, 8)), known.stand_in(MASK)
    assert x[mask].shape == (3, 8)
    assert x[:, mask.repeat(2)].shape == (4, 6)
    assert torch.masked_select(x, mask[:, None]).shape == (24,)
    assert torch.unique(mask).shape == (2,)


def test_what_is_written_over_with_what_is_not_known_is_known_no_longer(known: KnownValues) -> None:
    whole = torch.zeros(4, dtype=torch.long, device="meta")
    part = whole[:2]
    part.copy_(known.stand_in(torch.randn(2)))
    with pytest.raises(NotImplementedError, match="no data"):
        whole.tolist()


def test_what_is_not_known_raises_what_torch_raises(known: KnownValues) -> None:
    with pytest.raises(RuntimeError, match=r"Tensor.item\(\) cannot be called on meta tensors"):
        known.stand_in(torch.randn(4)).sum().item()


def test_large_tensors_are_not_kept(known: KnownValues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_values, "MAX_ELEMENTS", 3)
    with pytest.raises(NotImplementedError, match="no data"):
        known.stand_in(MASK).tolist()


def test_tensors_that_a_model_keeps_elsewhere_mix_with_those_on_meta(known: KnownValues) -> None:
    assert (known.stand_in(torch.randn(4, 8)) @ torch.ones(8, 2)).shape == (4, 2)


class Mixture(nn.Module):
    """Experts that look for their tokens, as people write them."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.router, self.dim = nn.Linear(8, 4), dim
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(4))

    def forward(self, x: torch.Tensor) -> Any:
        weights, chosen = self.router(x).softmax(-1).topk(2, dim=-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            if token.numel():
                out = out.index_add(0, token, expert(x[token]) * weights[token, place, None])
        return out


def test_a_routers_choice_moves_work_and_makes_none() -> None:
    model, x = Mixture(), torch.randn(10, 8)
    counter = FlopCounterMode(display=False)
    with counter:
        model(x).sum().backward()
    counted = count_pass(model, (x,), {})
    assert counted.forward_flop + (counted.backward_flop or 0) == counter.get_total_flops()


def test_an_operator_that_meta_lacks_is_asked_for_its_shapes_alone() -> None:
    def loss(x: torch.Tensor) -> Any:
        return nn.functional.ctc_loss(x.log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2]))

    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> Any:
            return loss(self.l(x))

    counted = count_pass(Speech(), (torch.randn(4, 1, 8),), {})
    assert (counted.forward_flop, counted.backward_flop, counted.unseen) == (2 * 4 * 64, 2 * 4 * 64, ())
