"""What an operator is, by its name and by what its tensors look like: its class, its shape as a product, its FLOP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

SHORT = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int64: "int64",
    torch.bool: "bool",
}
GATHERS = frozenset({"embedding", "index", "gather", "index_select"})
"""Read as much of their table as they return, wherever in it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a tensor argument looks like.

    Attributes:
        cold: whether it is not in the caches when its operator starts.
        trained: whether it is a parameter that asks for a gradient; torch folds products by such a matrix and not by others.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    cold: bool
    trained: bool = False

    @property
    def num_bytes(self) -> int:
        """Of its elements."""
        return numel(self.shape) * int(self.dtype.itemsize)

    def __str__(self) -> str:
        plain = self.strides == torch.empty(self.shape, device="meta").stride()
        laid = "" if plain else f"/{','.join(map(str, self.strides))}"
        marks = f"{'*' if self.cold else ''}{'^' if self.trained else ''}"
        return f"{SHORT.get(self.dtype, str(self.dtype))}[{','.join(map(str, self.shape))}{laid}]{marks}"


def name_of(func: Any) -> str:
    return str(func._overloadpacket).rpartition(".")[2]


def numel(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def composite_flop(name: str, specs: list[Spec]) -> int:
    """Of operators that inference does not take apart, which torch's counter has no formula for: 2 m n k; attention as if unmasked."""
    if (mnk := mnk_of(name, specs)) is not None:
        return 2 * mnk[0] * mnk[1] * mnk[2]
    if name == "scaled_dot_product_attention":
        query, key, value = specs[:3]
        return 2 * numel(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    return 0


def mnk_of(name: str, specs: list[Spec]) -> tuple[int, int, int] | None:
    """Of x[m, k] · w[k, n], which addmm has after its bias; linear has w[n, k]."""
    if name == "linear":
        x, weight = specs[:2]
        return numel(x.shape[:-1]), weight.shape[0], weight.shape[1]
    operands = {"mm": specs[:2], "addmm": specs[1:3]}.get(name, [])
    if len(operands) != 2:
        return None
    (m, k), (_, n) = operands[0].shape, operands[1].shape
    return m, n, k
