"""What a jit trace needs to hold a model of transformers on meta: tensors alone in and out, and convolutions that it sees.

On meta a convolution is out of a trace's reach twice over. The tracer records `_convolution`, which the kernels of real
devices call and that of meta does not; and the kernel of meta reads sizes, which are tensors while a trace runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTIONS = {torch.conv1d: 1, torch.conv2d: 2}
"""Function -> dimensions that its filter moves along."""


class _KernelInAnotherThread(TorchDispatchMode):
    """Runs the kernel of meta where no trace is: a tracer's state belongs to its thread."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.pool = pool

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._convolution.default:
            return self.pool.submit(torch.ops.aten.convolution.default, *args[:9]).result()
        return func(*args, **(kwargs or {}))


class _RecordedConvolutions(TorchFunctionMode):
    """Asks for every convolution by the name that the tracer records."""

    def __init__(self, kernel: _KernelInAnotherThread) -> None:
        super().__init__()
        self.kernel = kernel

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        dimensions = CONVOLUTIONS.get(func)
        if dimensions is None:
            return func(*args, **(kwargs or {}))
        with self.kernel:
            return _convolution(dimensions, *args, **(kwargs or {}))


def _convolution(
    dimensions: int,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> torch.Tensor:
    """torch.conv1d and torch.conv2d with numbers for their sizes, which a trace may have made tensors; padding in numbers only."""
    steps = (_numbers(value, dimensions) for value in (stride, padding, dilation))
    no = (False,) * 4  # benchmark, deterministic, cudnn, tf32
    result: torch.Tensor = torch._convolution(input, weight, bias, *steps, False, [0] * dimensions, int(groups), *no)
    return result


def _numbers(value: Any, dimensions: int) -> list[int]:
    return [int(number) for number in value] if isinstance(value, Sequence) else [int(value)] * dimensions


@contextmanager
def recorded_convolutions() -> Iterator[None]:
    """While it lasts, a jit trace on meta holds every 1- and 2-dimensional convolution."""
    with ThreadPoolExecutor(max_workers=1) as pool, _RecordedConvolutions(_KernelInAnotherThread(pool)):
        yield


class TensorsOnly(nn.Module):
    """A model of transformers that takes its keyword arguments in order, and returns the tensors among its outputs."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The model's forward pass."""
        outputs = self.model(**dict(zip(self.names, values, strict=True)))
        return tuple(value for value in outputs.values() if isinstance(value, torch.Tensor))
