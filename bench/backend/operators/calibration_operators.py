"""What a calibration runs without a model: products over a grid of shapes, attention, and element-wise operators by size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.nn import functional

from bench.backend import device as devices
from bench.backend.operators.trace import Call, calls_of, fake
from estimators.frozen import replace

GRID = {
    "quick": ((1, 16, 256), (16, 256, 4096), (16, 256, 4096)),
    "whole": ((1, 4, 16, 64, 256, 1024), (16, 256, 1024, 4096, 16384), (16, 256, 1024, 4096)),
}
"""m, n, k: m from one token, as in decoding, to a batch of sequences."""

ROWS = {"quick": (1, 64, 4096), "whole": (1, 16, 128, 1024, 8192, 32768)}
_WIDTH, _CLASSES = 256, 256
ATTENTION = {"quick": ((1, 256),), "whole": ((1, 256), (1, 1024), (64, 64), (256, 256), (1024, 1024))}
"""(queries, keys) of 8 heads of width 64; a single query is a decode step."""

_ALL_COLD, _ALL_WARM = 0, 2**62
"""Caches that hold nothing, and everything."""


def products(size: str, dtype_name: str) -> list[Call]:
    """x[m, k] · W[n, k]ᵀ on the grid, weights from memory as between two layers."""
    operators = []
    for m in GRID[size][0]:
        for n in GRID[size][1]:
            for k in GRID[size][2]:
                operators += _inference(partial(_linear, m=m, n=n, k=k), dtype_name, _ALL_COLD)
    return operators


def _linear(make: Callable[..., torch.Tensor], m: int, n: int, k: int) -> Callable[[], object]:
    x, weight = make(m, k), make(n, k)
    return lambda: functional.linear(x, weight)


def element_wise(size: str, dtype_name: str) -> Iterator[Call]:
    """Norms, activations, sums, copies, casts, dropout, softmax, loss and embedding, forward and backward, over sizes."""
    for rows in ROWS[size]:
        yield from (call for call in _sized(rows, devices.dtype(dtype_name)) if call.piece.group != "view")


def _sized(rows: int, kind: torch.dtype) -> list[Call]:
    with fake():
        x, table, weight = (torch.empty(*s, dtype=kind, requires_grad=True) for s in ((rows, _WIDTH), (_CLASSES, _WIDTH), (_WIDTH,)))
        ids = torch.zeros(rows, dtype=torch.long)
        return calls_of(lambda: _zoo(x, table, weight, ids), _ALL_WARM)


def _zoo(x: torch.Tensor, table: torch.Tensor, weight: torch.Tensor, ids: torch.Tensor) -> None:
    """Each operator whose curve a language model or a dense network needs."""
    h = functional.layer_norm(x + functional.embedding(ids, table), (_WIDTH,), weight, weight)
    h = functional.gelu(h) + functional.gelu(h, approximate="tanh") + functional.silu(h) + functional.relu(h)
    h = torch.tanh(h) * torch.sigmoid(h) + torch.pow(h, 3.0) * 0.5 + 1.0
    h = functional.dropout(h, 0.1) - torch.cat([-h[:, _WIDTH // 2 :], h[:, : _WIDTH // 2]], -1)
    h = h * torch.rsqrt(h.float().pow(2).mean(-1, keepdim=True) + 1e-5).to(h.dtype)
    h = functional.softmax(h, -1) + h.t().contiguous().t()
    (functional.cross_entropy(h.float(), ids) + h.float().square().sum(1).mean()).backward()


def attention(size: str, dtype_name: str) -> Iterator[Call]:
    """Attention as torch runs it: forward alone, and forward with backward where there are as many queries as keys."""
    for queries, keys in ATTENTION[size]:
        yield from (c for c in _inference(partial(_attend, queries=queries, keys=keys), dtype_name, _ALL_WARM) if _counts(c))
        if queries == keys:
            yield from (c for c in _trained(keys, devices.dtype(dtype_name)) if _counts(c))


def _trained(length: int, kind: torch.dtype) -> list[Call]:
    with fake():
        q, k, v = (torch.empty(1, 8, length, 64, dtype=kind, requires_grad=True) for _ in range(3))
        return calls_of(lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward(), _ALL_WARM)


def _counts(call: Call) -> bool:
    return call.piece.group == "attention"


def _attend(make: Callable[..., torch.Tensor], queries: int, keys: int) -> Callable[[], object]:
    q, k, v = make(1, 8, queries, 64), make(1, 8, keys, 64), make(1, 8, keys, 64)
    return lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=queries == keys)


def _inference(make_step: Callable[[Callable[..., torch.Tensor]], Callable[[], object]], dtype_name: str, cache_bytes: int) -> list[Call]:
    with fake():
        step = make_step(lambda *shape: torch.empty(*shape, dtype=devices.dtype(dtype_name)))

        def quietly() -> None:
            with torch.inference_mode():
                step()

        return calls_of(quietly, cache_bytes)


def renamed(call: Call, note: str) -> Call:
    """The call under a key of its own: the same operator under other conditions, such as on one thread."""
    return dataclasses.replace(call, piece=replace(call.piece, key=f"{call.piece.key} {note}"))
