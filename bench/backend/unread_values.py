"""What transformers reads of its inputs, answered for fake tensors, which hold no values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class _Yes(TorchDispatchMode):
    """A truth that is read from a fake tensor is True."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            (tensor,) = args
            if tensor.dtype is torch.bool and isinstance(tensor, FakeTensor):
                return True
        return func(*args, **(kwargs or {}))


@contextmanager
def plain_sequences() -> Iterator[None]:
    """Inside, a model without a mask is told what it would find by looking: one whole sequence in every row.

    Otherwise transformers, which looks only into tensors that have values, builds masks on the others that a real step does
    without, and its attention takes another kernel.
    """
    from transformers import masking_utils

    is_tracing = masking_utils.is_tracing
    masking_utils.is_tracing = lambda *_: False
    try:
        with _Yes():
            yield
    finally:
        masking_utils.is_tracing = is_tracing


class _Numbers(TorchDispatchMode):
    """Whole numbers and truths that no weight has a part in are computed on real tensors among the fake ones.

    An image that was made up has no padding: none of its values is 0, and a mask whose values nobody knows hides nothing.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _aten.eq.Scalar and args[1] == 0 and args[0].is_floating_point():
            func(*args, **kwargs)
            with unset_fake_temporarily():
                return torch.zeros(1, dtype=torch.bool, device=args[0].device).expand(args[0].shape)
        if func._overloadpacket in _INDEXED:
            args = (args[0], [place for index in args[1] for place in _places(index)], *args[2:])
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        if any(isinstance(tensor, FakeTensor) or tensor.is_floating_point() for tensor in tensors):
            return func(*args, **kwargs)
        if not tensors and (func._overloadpacket not in _MAKES or kwargs.get("dtype") not in _WHOLE):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            made = func(*args, **kwargs)
        is_number = isinstance(made, torch.Tensor) and made.is_floating_point() and not tensors
        return func(*args, **kwargs) if is_number else made


def _places(index: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """The index, or of a mask the places that it leaves, along each of its dimensions."""
    if index is None or index.dtype is not torch.bool:
        return (index,)
    with unset_fake_temporarily():
        mask = torch.ones(index.shape, dtype=torch.bool) if isinstance(index, FakeTensor) else index
        return tuple(mask.nonzero(as_tuple=True))


_aten = torch.ops.aten
_INDEXED = (_aten.index, _aten.index_put, _aten.index_put_)
_MAKES = (_aten.arange, _aten.full, _aten.ones, _aten.zeros)
_WHOLE = (None, torch.int64, torch.int32, torch.bool)


@contextmanager
def numbers_of_inputs() -> Iterator[None]:
    """Among fake tensors: what follows from the whole numbers of the inputs alone keeps its values, so that shapes and ways do."""
    with _Numbers():
        yield
