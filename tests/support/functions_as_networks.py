"""A function of torch, as a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Applies(nn.Module):
    """A network of one function, without parameters."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)
