"""What a network multiplies, told from the shapes that are dispatched where it computes: no formula of ours, none of torch's."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class Products(TorchDispatchMode):
    """Two FLOP for each multiply-add of a product of matrices or a filter; those of gradients apart.

    Attributes:
        forward, backward: FLOP.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forward = self.backward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        flop = 2 * _multiply_adds(func._overloadpacket, args, out)
        if torch._C._current_graph_task_id() == -1:
            self.forward += flop
        else:
            self.backward += flop
        return out


def _multiply_adds(operator: Any, args: Any, out: Any) -> int:
    """Each element of a product is a sum over the side that both factors share."""
    if operator in (aten.mm, aten.bmm, aten.mv, aten.dot):
        return int(out.numel()) * int(args[0].shape[-1])
    if operator in (aten.addmm, aten.baddbmm, aten.addmv):
        return int(out.numel()) * int(args[1].shape[-1])
    if operator is aten.convolution:
        return _taps(args[0], args[1], out, transposed=args[6])
    if operator is aten.convolution_backward:  # one product for the input's gradient, one for the filter's, if they are asked for
        grad, x, weight = args[:3]
        return sum(args[10][:2]) * _taps(x, weight, grad, transposed=args[7])
    return 0


def _taps(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, *, transposed: bool) -> int:
    """A filter meets each place of its output, or where it is transposed of its input, with all of its taps."""
    return (x if transposed else out).numel() * math.prod(weight.shape[1:])


def seen(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
    """FLOP forward and backward of a pass with real tensors, fused paths off."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), Products() as products:
            out = module(*args, **kwargs)
            roots = tree_leaves(out if isinstance(out, dict | tuple | list | torch.Tensor) else vars(out))
            torch.autograd.backward([(t * torch.ones_like(t)).sum() for t in roots if isinstance(t, torch.Tensor) and t.requires_grad])
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        module.zero_grad(set_to_none=True)
    return products.forward, products.backward
