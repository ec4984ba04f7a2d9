"""Random tensors in little time: a drawn block, repeated. Never zeros, which multiply faster and at less power."""

from __future__ import annotations

import math

import torch

_BLOCK_ELEMENTS = 2**20 + 7
"""Odd, so that rows of a power of two do not repeat."""


def drawn(*shape: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of normal random values, in distinct memory throughout."""
    num_elements = math.prod(shape)
    block = torch.randn(min(num_elements, _BLOCK_ELEMENTS), device=device).to(dtype)
    return block.repeat(math.ceil(num_elements / block.numel()))[:num_elements].view(shape)
