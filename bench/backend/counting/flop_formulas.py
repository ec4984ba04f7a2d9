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


def _addmm(bias: Shape, a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Matrix times matrix, added: 2·m·k·n; in place of what it is added to, or with an activation behind it."""
    return 2 * a[0] * a[1] * b[1]


def _baddbmm(bias: Shape, a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * a[2] * b[2]


def _grouped_mm(a: Shape, b: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Groups of products, as mixtures of experts use it: of the three axes one may be shared out over the groups.

    2d x 3d, 3d x 2d, 3d x 3d: every number of the result is a sum over k, the last axis of `a`. 2d x 2d, the gradient of
    the weights: k is what is shared out, so that the groups together are one product.
    """
    return 2 * a[0] * a[1] * b[1] if len(a) == len(b) == 2 else 2 * math.prod(out_shape) * a[-1]


def _by_output(a: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """Rows of `a` times a matrix that is packed in some way: 2·m·k·n with k the last axis of `a`, m and n those of the result."""
    return 2 * math.prod(out_shape) * a[-1]


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


_PACKED = [
    getattr(aten, name)
    for name in (
        "_int_mm",
        "_weight_int8pack_mm",
        "_weight_int4pack_mm",
        "_weight_int4pack_mm_for_cpu",
        "_weight_int4pack_mm_with_scales_and_zeros",
        "_dyn_quant_matmul_4bit",
        "_mixed_dtypes_linear",
        "mkldnn_linear",
    )
    if hasattr(aten, name)
]
"""Products of quantised numbers, and of weights laid out for a kernel: their first argument is plain, one number an element."""

MENDED: dict[Any, Callable[..., int]] = {
    aten.mv: _mv,
    aten.addmv: _addmv,
    aten.dot: _dot,
    aten.vdot: _dot,
    aten.addr: _addr,
    aten.addbmm: _addbmm,
    aten._scaled_dot_product_flash_attention_for_cpu: _sdpa,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _sdpa_backward,
    aten.addmv_: _addmv,
    aten.addr_: _addr,
    aten.addbmm_: _addbmm,
    aten.addmm_: _addmm,
    aten._addmm_activation: _addmm,
    aten.baddbmm_: _baddbmm,
    aten._grouped_mm: _grouped_mm,
    aten._scaled_grouped_mm: _grouped_mm,
    aten.convolution_backward: _convolution_backward,
    **dict.fromkeys(_PACKED, _by_output),
}
"""operator -> formula; goes to FlopCounterMode as `custom_mapping`."""
