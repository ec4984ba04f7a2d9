"""What a network raises is an answer; what our own files raise is a fault, and is raised."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.backend.counting import flop_formulas, module
from bench.backend.counting.does_not_run import raise_if_ours
from bench.backend.counting.training_pass import count_pass
from bench.backend.known_values import KnownValues
from estimators.errors import BadValueError, UnavailableError


class Raising(nn.Module):
    """Raises what it is told to, in its own file."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise self.kind("of its own")


class Beyond(nn.Module):
    """Asks torch for a dimension that there is not, which is an IndexError of an operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(7)


@pytest.mark.parametrize("kind", [AttributeError, AssertionError, KeyError, TypeError])
def test_what_a_network_raises_is_one_line(kind: type[Exception]) -> None:
    with pytest.raises(BadValueError, match="of its own"):
        module.count(Raising(kind), torch.zeros(2, 3), fvcore=False)
    with pytest.raises(UnavailableError, match="of its own"):
        count_pass(Raising(kind), (torch.zeros(2, 3),), {})


def test_what_an_operator_raises_in_our_frames_is_the_network_s() -> None:
    with pytest.raises(BadValueError, match="Dimension out of range"):
        module.count(Beyond(), torch.zeros(2, 3), fvcore=False)


def test_numbers_that_the_network_has_none_of_are_its_own_lack() -> None:
    """As PP-DocLayoutV2's thresholds of classes, which its default configuration leaves empty: on meta nobody asks for their values."""
    with pytest.raises(TypeError) as raised, KnownValues():
        torch.tensor([None], dtype=torch.float32, device="meta")
    raise_if_ours(raised.value)


def test_a_function_that_takes_other_arguments_is_the_network_s() -> None:
    def step(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return model(x + y).sum()

    with pytest.raises(UnavailableError, match="missing 1 required positional argument: 'y'"):
        count_pass(nn.Linear(3, 3), (torch.zeros(2, 3),), {}, function=step)


@pytest.mark.parametrize("kind", [AttributeError, AssertionError, KeyError, TypeError])
def test_a_fault_in_a_formula_of_ours_is_raised(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    scope: dict[str, Any] = {"__name__": flop_formulas.__name__, "kind": kind}
    exec("def wrong(*args, **kwargs):\n    raise kind('a fault of ours')", scope)  # a function of that file
    monkeypatch.setitem(module.MENDED, torch.ops.aten.addmm, scope["wrong"])
    with pytest.raises(kind, match="a fault of ours"):
        module.count(nn.Linear(3, 3), torch.zeros(2, 3), fvcore=False)
    with pytest.raises(kind, match="a fault of ours"):
        count_pass(nn.Linear(3, 3), (torch.zeros(2, 3),), {})


def test_an_error_that_was_never_raised_has_no_place() -> None:
    raise_if_ours(AttributeError("made, not raised"))
