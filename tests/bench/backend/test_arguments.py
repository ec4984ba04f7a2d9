"""Arguments of a pass on meta are copies: whatever forward writes into them, those of the real pass are as they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from bench.backend.counting.arguments import copied_with
from estimators.errors import UnavailableError


@dataclass
class Cache:
    keys: list[torch.Tensor] = field(default_factory=list)
    of: Any = None


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


def test_what_is_written_into_a_copy_stays_there() -> None:
    key = torch.zeros(2)
    cache = Cache([key], of=torch.relu)
    (copied,), named = copied_with(((cache,), {"same": key}), on_meta)
    copied.keys.append(torch.zeros(3))
    assert (len(cache.keys), cache.keys[0] is key) == (1, True)
    assert (type(copied), copied.of, copied.keys[0].is_meta) == (Cache, torch.relu, True)
    assert named["same"] is copied.keys[0]


def test_what_can_be_gone_through_once_is_not_gone_through() -> None:
    numbers = iter([torch.zeros(2)])
    given = (each for each in numbers)
    with pytest.raises(UnavailableError, match=r"^forward is given what cannot be copied: cannot pickle 'generator' object$"):
        copied_with({"x": given}, on_meta)
    assert len(list(given)) == 1
