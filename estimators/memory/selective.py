"""What a layer keeps under selective recomputation by software that names what is kept, instead of what is made again."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.architectures.attention import Attention
from estimators.architectures.latent_attention import LatentAttention
from estimators.architectures.part import Part
from estimators.memory.kernels import STATISTIC_BYTES, Kernels
from estimators.memory.saved import SavedActivations
from estimators.spec import Op

ROW_PARALLEL = ("output", "down")
"""Matrices whose output is of the stream's width: whole on each rank of tensor parallelism, or shared out with the stream."""


def kept_selectively(
    ops: Sequence[Op], parts: Sequence[Part], num_layers: int, width: int, t: int, k: Kernels, size: int
) -> SavedActivations:
    """Of one layer: its input, what the attention kernel made, and the outputs of some of its matrices.

    `every second matrix` counts them in the order in which they run, the first kept; `projections` are queries, keys and values.
    Experts' grouped products are among neither.

    Args:
        ops: of all `num_layers` layers of the block.
        t: tokens of one sequence.
        size: bytes per element.
    """
    kept = SavedActivations(outer=float(t * width * size))
    for part in parts:
        if isinstance(part, Attention | LatentAttention):
            out = part.inner_width if isinstance(part, Attention) else part.heads * part.value_width
            kept += SavedActivations(inner=float(t * (out * size + part.heads * STATISTIC_BYTES)))
    matrices = [op for op in ops if op.kind == "matmul" and op.mnk and op.params and op.component not in ("experts", "router", "head")]
    for i, op in enumerate(matrices):
        if (i % 2 == 0) if k.selective == "every second matrix" else op.role in ("query", "key", "value", "query_key_value"):
            assert op.mnk
            made = float(t * op.mnk[1] * size * op.count) / num_layers
            kept += SavedActivations(outer=made) if op.role in ROW_PARALLEL else SavedActivations(inner=made)
    return kept
