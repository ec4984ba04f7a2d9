"""What an operator makes on meta is found out once, and looks as what torch makes of tensors that have values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.backend import known_looks
from bench.backend.known_looks import made_by
from bench.backend.known_values import KnownValues

aten = torch.ops.aten
X, Y, HALF = torch.zeros(3, 4).t(), torch.zeros(4, 3), torch.zeros(4, 1, dtype=torch.bfloat16)
CALLS: dict[str, Callable[..., object]] = {
    "strided": lambda x, y, half: aten.add.Tensor(x, y, alpha=2),
    "promoted": lambda x, y, half: aten.mul.Tensor(x, half),
    "an integer": lambda x, y, half: aten.mul.Scalar(half, 1),
    "a fraction": lambda x, y, half: aten.add.Tensor(half, 1.0),
    "a choice": lambda x, y, half: aten.native_layer_norm.default(y, [3], None, None, 1e-5),
    "a list": lambda x, y, half: aten.cat.default([x, y], 1),
    "another dtype": lambda x, y, half: aten._to_copy.default(x, dtype=torch.float64),
    "reduced": lambda x, y, half: aten.mean.dim(x, [0], True),
    "two": lambda x, y, half: aten.max.dim(x, 0),
}


def looks(made: object) -> list[tuple[object, ...]]:
    tensors = made if isinstance(made, tuple | list) else [made]
    return [(t.shape, t.stride(), t.dtype) for t in tensors if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_second_time_it_looks_as_where_there_are_values(call: Callable[..., object]) -> None:
    real = looks(call(X, Y, HALF))
    with KnownValues():
        for _ in range(2):
            found = call(*(t.to("meta") if t is not X else torch.zeros(3, 4, device="meta").t() for t in (X, Y, HALF)))
            assert looks(found) == real


def test_numbers_of_different_kinds_are_told_apart() -> None:
    """1, 1.0 and True are equal, and make other dtypes of whole numbers."""
    whole = torch.zeros(2, dtype=torch.long, device="meta")
    made = [made_by(aten.mul.Tensor, (whole, value), {}).dtype for value in (1, 1.0, True, 1)]
    assert made == [torch.int64, torch.float32, torch.int64, torch.int64]


def test_a_view_is_made_anew_and_shares_its_memory() -> None:
    base = torch.zeros(4, 4, device="meta")
    views = [made_by(aten.slice.Tensor, (base, 0, 0, 2), {}) for _ in range(2)]
    assert all(view._base is base or view.untyped_storage()._cdata == base.untyped_storage()._cdata for view in views)
    assert made_by(aten.add_.Tensor, (base, base), {}) is base


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_looks, "MAX_REMEMBERED", 3)
    known_looks._made.clear()
    for size in range(9):
        x = torch.zeros(size, device="meta")
        assert made_by(aten.add.Tensor, (x, x), {}).shape == (size,)
        assert len(known_looks._made) <= 3
