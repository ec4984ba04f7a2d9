"""What transformers reads of its inputs, answered for fake tensors, which hold no values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode


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
