"""Holding: parameters of each kind of layer and what one sequence leaves in it for backward, read off the model's parts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from estimators.architectures.attention import Attention
from estimators.architectures.block import Beside, Block, Part
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.latent_attention import LatentAttention
from estimators.frozen import frozen
from estimators.memory.kernels import STATISTIC_BYTES, Kernels
from estimators.spec import Model, Op, Workload
from estimators.step_time.work import Work, work_of
from estimators.units import DTYPE_BYTES


@frozen
class Kept:
    """Bytes of one sequence by how a layout divides them.

    Attributes:
        inner: between tensor-parallel matrices: each rank keeps its part.
        outer: around them: each rank keeps all, or its part under sequence parallelism.
        routed: of tokens sent to experts.
        scores: the square of an unfused attention; inner.
        apart: inner too, and only under context parallelism.
    """

    inner: float = 0.0
    outer: float = 0.0
    routed: float = 0.0
    scores: float = 0.0
    apart: float = 0.0

    def __add__(self, other: Kept) -> Kept:
        return Kept(
            inner=self.inner + other.inner,
            outer=self.outer + other.outer,
            routed=self.routed + other.routed,
            scores=self.scores + other.scores,
            apart=self.apart + other.apart,
        )

    def times(self, factor: float) -> Kept:
        """Every part times a number."""
        return Kept(
            inner=self.inner * factor,
            outer=self.outer * factor,
            routed=self.routed * factor,
            scores=self.scores * factor,
            apart=self.apart * factor,
        )


@frozen
class Layer:
    """One layer, nothing cut yet.

    Attributes:
        dense_params, expert_params: by how they are divided.
        shapes: of its matrices, each once, whatever number has it.
        kept: for backward, with nothing recomputed.
        cheap: of it, what selective recomputation does without.
        passing: gradients that are held at once on the way back through the feed-forward.
    """

    dense_params: float
    expert_params: float
    shapes: frozenset[tuple[int, int]]
    kept: Kept
    cheap: Kept
    passing: Kept


@frozen
class Holding:
    """A model as memory sees it: `num_first` layers of one kind, the rest of another.

    Attributes:
        element_bytes: of weights and activations in compute.
        ends: kept around the layers, beside logits: token ids (first), final norm and the head's input (last).
    """

    work: Work
    kernels: Kernels
    element_bytes: int
    first: Layer
    rest: Layer
    num_first: int
    first_end: Kept
    last_end: Kept


def holding_of(model: Model, seq_len: int, kernels: Kernels, dtype: str = "bf16") -> Holding:
    """What a model's layers hold and keep for one sequence of `seq_len` tokens. Products below 16 bits keep 16-bit activations.

    Raises:
        BadValueError: a model without a head, see `work_of`.
    """
    return _holding_of(model, seq_len, kernels, max(2, DTYPE_BYTES.get(dtype, 2)))  # type: ignore[arg-type]  # models are frozen


@functools.lru_cache(maxsize=64)
def _holding_of(model: Any, seq_len: int, kernels: Kernels, size: int) -> Holding:
    work = work_of(model, seq_len)
    base = getattr(model, "base", model)
    blocks: Sequence[Block] = base.blocks
    layers = [_layer(block, base.width, seq_len, kernels, size) for block in blocks]
    split = len(blocks) == 2 and not base.order
    whole = _average([(blocks[i].count, layer) for i, layer in enumerate(layers)])
    rms = base.final_norm is None or not base.final_norm.bias
    ids = 8.0 * seq_len * kernels.statistics
    turns = any(getattr(part, "rotary", True) for block in blocks for _, part in block.parts)
    return Holding(
        work=work,
        kernels=kernels,
        element_bytes=size,
        first=layers[0] if split else whole,
        rest=layers[1] if split else whole,
        num_first=blocks[0].count if split else 0,
        first_end=Kept(outer=seq_len * base.width * kernels.dropout_bytes + ids * (2 if base.positions else 1)),
        last_end=_norm(base.width, rms, seq_len, kernels, size)
        + Kept(outer=seq_len * base.width * size + ids)
        + Kept(outer=2.0 * seq_len * work.head_width * size * (turns and kernels.statistics)),
    )


def _average(layers: Iterable[tuple[int, Layer]]) -> Layer:
    counted = list(layers)
    num = sum(count for count, _ in counted)

    def mean(name: str) -> float:
        return float(sum(count * getattr(layer, name) for count, layer in counted)) / num

    def kept(name: str) -> Kept:
        return functools.reduce(Kept.__add__, (getattr(layer, name).times(count / num) for count, layer in counted))

    if len(counted) == 1:
        return counted[0][1]
    return Layer(
        dense_params=mean("dense_params"),
        expert_params=mean("expert_params"),
        shapes=frozenset().union(*(layer.shapes for _, layer in counted)),
        kept=kept("kept"),
        cheap=kept("cheap"),
        passing=kept("passing"),
    )


def _layer(block: Block, width: int, seq_len: int, k: Kernels, size: int) -> Layer:
    ops = block.ops(Workload(phase="train", batch=1, seq_len=seq_len), width)
    parts = [part for _, outer in block.parts for part in (_inside(outer) if isinstance(outer, Beside) else (outer,))]
    stream = float(seq_len * width * size)
    inputs = min(len(block.parts), max(1, block.norms))
    rms = not block.norm.bias
    kept = _norm(width, rms, seq_len, k, size).times(block.norms) + Kept(outer=inputs * stream)
    kept += Kept(outer=seq_len * width * k.dropout_bytes * len(block.parts))
    cheap = Kept() if not k.fused_attention else Kept(outer=inputs * stream)
    passing = Kept()
    for part in parts:
        more, less, back = _part(part, ops, width, seq_len, k, size)
        kept, cheap, passing = kept + more, cheap + less, _greater(passing, back)
    scores = Kept(scores=kept.scores)
    experts = [op for op in ops if op.component == "experts"]
    shapes = {(op.mnk[1], op.mnk[2]) for op in _fused(ops) if op.kind == "matmul" and op.mnk and op.component != "router"}
    return Layer(
        dense_params=sum(op.count * op.params for op in ops if op.component != "experts") / block.count,
        expert_params=sum(op.count * op.params for op in experts) / block.count,
        shapes=frozenset(shapes),
        kept=kept,
        cheap=cheap if k.fused_attention else scores,
        passing=passing + Kept(outer=stream),
    )


def _inside(beside: Beside) -> tuple[Part, ...]:
    return tuple(part for _, part in beside.parts)


def _fused(ops: Sequence[Op]) -> list[Op]:
    """Rows with query, key and value, and gate and up, taken as one matrix, as training software holds them."""
    from estimators.frozen import replace

    merged: dict[tuple[str, str], Op] = {}
    kinds = {"query": "qkv", "key": "qkv", "value": "qkv", "gate": "gate_up", "up": "gate_up"}
    for op in ops:
        part, _, last = op.name.rpartition(".")
        key = (part, kinds.get(last, last))
        before = merged.get(key)
        if before and before.mnk and op.mnk:
            m, n, depth = before.mnk
            merged[key] = replace(before, mnk=(m, n + op.mnk[1], depth))
        else:
            merged[key] = op
    return list(merged.values())


def _greater(a: Kept, b: Kept) -> Kept:
    total = [sum((kept.inner, kept.outer, kept.routed)) for kept in (a, b)]
    return a if total[0] >= total[1] else b


def _norm(width: int, rms: bool, tokens: float, k: Kernels, size: int) -> Kept:
    """A norm beside its output: its input, or, written out in Python, an fp32 copy and what was normalised."""
    if rms and k.widened_norm_bytes:
        return Kept(outer=tokens * (width * (k.widened_norm_bytes + size) + STATISTIC_BYTES))
    statistics = (STATISTIC_BYTES if rms else 2 * size) * k.statistics
    return Kept(outer=tokens * (width * size + statistics))


def _part(part: Part, ops: Sequence[Op], width: int, t: int, k: Kernels, size: int) -> tuple[Kept, Kept, Kept]:
    """Of one part of a layer: kept, what of it is cheap to recompute, gradients held at once on the way back."""
    if isinstance(part, Attention):
        kv_heads = part.kv_heads if k.fused_attention else part.heads
        elements = part.inner_width + 2 * kv_heads * part.head_width
        return _attention(part.heads, elements, part.inner_width, t, k, size), Kept(), Kept()
    if isinstance(part, LatentAttention):
        queries, values = part.heads * part.qk_width, part.heads * part.value_width
        ranks = [rank for rank in (part.query_rank, part.kv_rank) if rank]
        latents = Kept(outer=t * part.rope_width * size)
        for rank in ranks:
            latents += _norm(rank, True, t, k, size) + Kept(outer=t * rank * size)
        return _attention(part.heads, 2 * queries + values, values, t, k, size) + latents, Kept(), Kept()
    if isinstance(part, FeedForward):
        kept, cheap, back = _feed_forward(part.width, part.gated, part.activation_planes, t, k, size)
        return Kept(inner=kept), Kept(inner=cheap), Kept(inner=back)
    if isinstance(part, Experts):
        rows = t * part.per_token
        kept, cheap, back = _feed_forward(part.width, True, 1, rows, k, size)
        stream = float(rows * width * size)
        router = t * part.num * 4.0 * 2
        more = [Kept(routed=kept + stream, outer=router), Kept(routed=cheap), Kept(routed=back + stream)]
        if part.shared:
            more = [a + b for a, b in zip(more, _part(part.shared, ops, width, t, k, size), strict=True)]
        return more[0], more[1], more[2]
    rows_of_part = [op for op in ops if op.kind in ("scan", "attention", "elementwise", "matmul") and op.reads]
    return Kept(inner=float(sum(op.saved_bytes for op in rows_of_part))), Kept(), Kept()


def _attention(heads: int, elements: int, out: int, t: int, k: Kernels, size: int) -> Kept:
    """Queries, keys and values, the input of the output matrix, and what the kernel keeps between them."""
    statistics = STATISTIC_BYTES * heads * k.statistics * k.fused_attention
    inner = float(t * ((elements + out) * size + statistics))
    if k.fused_attention:
        return Kept(inner=inner, apart=float(t * out * size * k.separate_output))
    pair = size + ((k.dropout_bytes + size) if k.dropout_bytes else 0)
    widened = 4 if k.widened_scores and size < 4 else 0
    return Kept(inner=inner, scores=float(heads) * t * t * (pair + widened))


def _feed_forward(width: int, gated: bool, planes: int, rows: int, k: Kernels, size: int) -> tuple[float, float, float]:
    """Inputs of the activation and of the matrix behind it; written out in Python the activated gate as well."""
    eager_gate = 1 if gated and k.widened_norm_bytes else 0
    halves = 2 if gated else 1
    activated = float(rows * width * size)
    inputs = halves + eager_gate if gated or not k.widened_norm_bytes else planes
    return activated * (inputs + 1), activated * (k.fused_attention * (1 + eager_gate)), activated * halves
