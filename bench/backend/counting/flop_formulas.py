"""Formulas for operators that torch.utils.flop_counter counts as nothing, or wrongly. Convention `full`.

Each takes the shapes of the operator's arguments, as torch's own formulas do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

aten = torch.ops.aten
Shape = Sequence[int]


def _mv(matrix: Shape, vector: Shape, *_: Any, **__: Any) -> int:
    """Matrix times vector: 2·m·k."""
    return 2 * matrix[0] * matrix[1]


def _addmv(bias: Shape, matrix: Shape, vector: Shape, *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _dot(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Inner product: 2·k."""
    return 2 * a[0]


def _addr(bias: Shape, a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Outer product, added: 2·m·n."""
    return 2 * a[0] * b[0]


def _addbmm(bias: Shape, a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * a[2] * b[2]


def _sdpa(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Attention of fused CPU kernels: scores and context over the full square; pytorch issue 195460 has them at 0."""
    b, heads, t, width = query
    s, v_width = key[-2], value[-1]
    return 2 * b * heads * t * s * (width + v_width)


def _sdpa_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Four products, twice the forward; the scores that a flash kernel computes again are recomputation."""
    return 2 * _sdpa(query, key, value)


def _grouped_mm(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Rows of `a` each times one of the matrices of `b`: 2·rows·k·n (2d x 3d), as mixtures of experts use it."""
    assert (len(a), len(b)) == (2, 3), (a, b)
    return 2 * a[0] * a[1] * b[2]


def convolution_flop(batch: int, out_positions: int, weight: Shape) -> int:
    """2·B·positions·C_out·(C_in/groups)·kernel: the weight's second axis is C_in/groups already."""
    return 2 * batch * out_positions * math.prod(weight)


def _convolution_backward(
    grad_out: Shape,
    x: Shape,
    weight: Shape,
    bias: Shape | None,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    transposed: bool,
    output_padding: Shape,
    groups: int,
    output_mask: Sequence[bool],
    *_: Any,
    **__: Any,
) -> int:
    """Input gradient and weight gradient, each as many multiply-adds as the forward; torch's own is wrong for groups."""
    positions = math.prod((x if transposed else grad_out)[2:])
    return (bool(output_mask[0]) + bool(output_mask[1])) * convolution_flop(grad_out[0], positions, weight)


MENDED: dict[Any, Callable[..., int]] = {
    aten.mv: _mv,
    aten.addmv: _addmv,
    aten.dot: _dot,
    aten.vdot: _dot,
    aten.addr: _addr,
    aten.addbmm: _addbmm,
    aten._scaled_dot_product_flash_attention_for_cpu: _sdpa,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _sdpa_backward,
    aten._grouped_mm: _grouped_mm,
    aten.convolution_backward: _convolution_backward,
}
"""operator -> formula; goes to FlopCounterMode as `custom_mapping`."""
