"""Angles of rotary positions, which transformers up to 5.17 at least forms by a product of depth 1: no multiply-adds, no FLOP of ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_product = torch.Tensor.__matmul__


def _broadcast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a · b, and where the inner dimension is 1, the same numbers by one multiplication each."""
    return a * b if a.dim() > 1 and a.shape[-1] == 1 and b.dim() > 1 and b.shape[-2] == 1 else _product(a, b)


def multiply_angles(model: nn.Module) -> nn.Module:
    """The model, whose rotary embeddings no longer call an outer product a matrix product, on either route of counting."""
    for module in model.modules():
        if type(module).__name__.endswith("RotaryEmbedding"):
            module.forward = _without_products(module.forward)
    return model


def _without_products(forward: Any) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        torch.Tensor.__matmul__ = _broadcast
        try:
            return forward(*args, **kwargs)
        finally:
            torch.Tensor.__matmul__ = _product

    return counted
