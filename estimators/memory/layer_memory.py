"""ModelMemory: parameters of each kind of layer and what one sequence leaves in it for backward, read off the model's parts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from estimators.architectures.block import Block
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.part import apart
from estimators.architectures.shared_transformer import SharedTransformer
from estimators.cost.array_math import Lane, greater
from estimators.cost.tensor_cut import CutParams, cut_params, outputs_on_rank
from estimators.frozen import frozen, replace
from estimators.memory.activations import beside_shared, connections_kept, norm_kept, part_kept
from estimators.memory.autograd.layers import Stream, begin_kept, end_kept, layer_kept
from estimators.memory.kernels import Kernels
from estimators.memory.saved import SavedActivations
from estimators.memory.selective import kept_selectively
from estimators.spec import Model, Op, Workload
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.units import DTYPE_BYTES


@frozen
class Shape:
    """Of a matrix: its outputs and inputs, and of the outputs, those that ranks repeat once each has one of so many heads."""

    outputs: int
    inputs: int
    repeated: int
    heads: int

    def elements(self, ranks: Lane = 1) -> Lane:
        """Of one rank's part."""
        return self.inputs * outputs_on_rank(self.outputs, self.repeated, self.heads, ranks)


@frozen
class LayerMemory:
    """One layer, nothing cut yet.

    Attributes:
        dense: parameters by how tensor parallelism divides them, without those of experts.
        expert_params: what expert parallelism shares out.
        shapes: of its matrices, each once, whatever number has it.
        kept: for backward, with nothing recomputed.
        cheap: of it, what selective recomputation does without.
        passing: gradients that are held at once on the way back through the feed-forward.
    """

    dense: CutParams
    expert_params: float
    shapes: frozenset[Shape]
    kept: SavedActivations
    cheap: SavedActivations
    passing: SavedActivations


@frozen
class ModelMemory:
    """A model as memory sees it: `num_first` layers of one kind, the rest of another.

    Attributes:
        element_bytes: of weights and activations in compute.
        edge: dense parameters of no layer, such as those of the final norm.
        first_end, last_end: kept around the layers, beside logits: token ids and dropout mask; final norm and the head's input.
        shared_bytes: kept once for all sequences of a pass: positions, or sines and cosines.
    """

    work: SequenceCost
    kernels: Kernels
    element_bytes: int
    first: LayerMemory
    rest: LayerMemory
    num_first: int
    edge: CutParams
    first_end: SavedActivations
    last_end: SavedActivations
    shared_bytes: float

    @property
    def stream_bytes(self) -> int:
        """Per element of what layers hand on."""
        return max(self.element_bytes, self.kernels.stream_bytes)

    def largest_matrix(self, ranks: Lane) -> Lane:
        """Elements of one rank's part of the layers' largest matrix."""
        return functools.reduce(greater, (shape.elements(ranks) for shape in self.first.shapes | self.rest.shapes))


def model_memory_of(model: Model, seq_len: int, kernels: Kernels, dtype: str = "bf16") -> ModelMemory:
    """What a model's layers hold and keep for one sequence of `seq_len` tokens.

    Products below 16 bits keep 16-bit activations, and their own inputs as the kernels say.

    Raises:
        BadValueError: a model without a head, see `sequence_cost_of`.
    """
    return _model_memory_of(model, seq_len, kernels.under(dtype), max(2, int(DTYPE_BYTES.get(dtype, 2))))


@functools.lru_cache(maxsize=64)
def _model_memory_of(model: Any, seq_len: int, kernels: Kernels, size: int) -> ModelMemory:
    work = sequence_cost_of(model, seq_len)
    if not isinstance(model.base, Decoder):
        return _of_rows(model, work, kernels, size)
    base: Decoder = model.base
    blocks = base.blocks
    layers = [_layer(block, base.width, seq_len, kernels, size) for block in blocks]
    of_base = sum(block.count * layer.expert_params for block, layer in zip(blocks, layers, strict=True))
    if work.expert_params > of_base:  # experts have adapters, which are divided as they are
        layers = [replace(layer, expert_params=layer.expert_params * work.expert_params / of_base) for layer in layers]
    split = len(blocks) == 2 and not base.order
    whole = _average([(blocks[i].count, layer) for i, layer in enumerate(layers)])
    rms = base.final_norm is None or not base.final_norm.bias
    if kernels.written_out:
        last = end_kept(base, seq_len, kernels, size)
        begin = begin_kept(base, seq_len, kernels, size)
    else:
        last = norm_kept(base.width, rms, seq_len, kernels, size) + SavedActivations(outer=seq_len * base.width * size)
        begin = SavedActivations()
    once = last.once + sum(block.count * layer.kept.once for block, layer in zip(blocks, layers, strict=True))
    ids = 8.0 * seq_len * kernels.statistics
    turns = any(part.rotary for block in blocks for _, part in block.parts)
    positions = 8 if base.positions else 2 * max(size, kernels.stream_bytes) * work.head_width if turns else 0
    return ModelMemory(
        work=work,
        kernels=kernels,
        element_bytes=size,
        first=layers[0] if split else whole,
        rest=layers[1] if split else whole,
        num_first=blocks[0].count if split else 0,
        edge=work.dense + _sum(layer.dense.times(-block.count) for block, layer in zip(blocks, layers, strict=True)),
        first_end=SavedActivations(outer=seq_len * base.width * kernels.dropout_bytes + ids) + begin,
        last_end=last + SavedActivations(outer=ids),
        shared_bytes=float(seq_len * positions * kernels.statistics) + once,
    )


def _of_rows(model: Model, work: SequenceCost, kernels: Kernels, size: int) -> ModelMemory:
    """Of a traced model, whose layers are known by their rows alone: what kernels that are not fused were seen to keep.

    Attention's square is left out, as every software's attention is fused.
    """
    ops = model.ops(Workload(phase="train", seq_len=work.seq_len, dtype="bf16"))
    inside = [op for op in ops if op.recomputed]
    shapes = [_shape(op, *op.mnk[1:]) for op in _fused(inside) if op.kind == "matmul" and op.mnk and op.component != "router"]
    stream = SavedActivations(outer=float(work.seq_len * work.width * size))
    layer = LayerMemory(
        dense=cut_params(inside, vocab=1).times(1 / work.layers),
        expert_params=work.expert_params / work.layers,
        shapes=frozenset(shapes),
        kept=_kept_by_rows(inside, size).times(1 / work.layers),
        cheap=SavedActivations(),
        passing=stream,
    )
    around = [op for op in ops if not op.recomputed and op.role != "head"]
    return ModelMemory(
        work=work,
        kernels=kernels,
        element_bytes=size,
        first=layer,
        rest=layer,
        num_first=0,
        edge=work.dense + layer.dense.times(-work.layers),
        first_end=SavedActivations(outer=8.0 * work.seq_len),
        last_end=stream + stream,
        shared_bytes=_kept_by_rows([op for op in around if op.kind != "norm" and op.part], size).per_sequence,
    )


def _kept_by_rows(ops: Iterable[Op], size: int) -> SavedActivations:
    """What all copies keep, by how a layout divides it."""
    total = SavedActivations()
    for op in ops:
        kept = float(op.count * op.saved_bytes) * size / 2
        if op.component == "experts":
            total += SavedActivations(routed=kept)
        else:
            total += SavedActivations(inner=kept) if op.cut != "whole" or op.component == "attention" else SavedActivations(outer=kept)
    return total


def _sum(params: Iterable[CutParams]) -> CutParams:
    return sum(params, CutParams())


def _average(layers: Iterable[tuple[int, LayerMemory]]) -> LayerMemory:
    counted = list(layers)
    num = sum(count for count, _ in counted)

    def mean(name: str) -> float:
        return float(sum(count * getattr(layer, name) for count, layer in counted)) / num

    def kept(name: str) -> SavedActivations:
        parts: list[SavedActivations] = [getattr(layer, name).times(count / num) for count, layer in counted]
        return functools.reduce(SavedActivations.__add__, parts)

    if len(counted) == 1:
        return counted[0][1]
    return LayerMemory(
        dense=_sum(layer.dense.times(count / num) for count, layer in counted),
        expert_params=mean("expert_params"),
        shapes=frozenset().union(*(layer.shapes for _, layer in counted)),
        kept=kept("kept"),
        cheap=kept("cheap"),
        passing=kept("passing"),
    )


def _layer(block: Block, width: int, seq_len: int, k: Kernels, size: int) -> LayerMemory:
    ops = block.ops(Workload(phase="train", batch=1, seq_len=seq_len), width)
    parts = list(apart(part for _, part in block.parts))
    shared = [part for _, part in block.parts if isinstance(part, SharedTransformer)]
    stream = float(seq_len * width * size)
    inputs = min(len(block.parts) - block.unnormed, max(1, block.norms))
    rms = not block.norm.bias
    routed = sum(isinstance(part, Experts) for part in parts)  # a router multiplies in 16 bits
    of_matrices = (inputs - routed) * seq_len * width * k.input_size(size) + routed * stream
    kept = norm_kept(width, rms, seq_len, k, size).times(block.norms) + SavedActivations(outer=of_matrices)
    kept += SavedActivations(outer=seq_len * width * k.dropout_bytes * len(block.parts))
    if block.connections:
        kept += connections_kept(block.connections, len(block.parts), width, seq_len, size)
    kept += sum((beside_shared(part, width, seq_len, k, size) for part in shared), SavedActivations())
    cheap = SavedActivations() if not k.fused_attention else SavedActivations(outer=of_matrices)
    passing = SavedActivations()
    for part in parts:
        more, less, back = part_kept(part, width, seq_len, k, size)
        kept, cheap, passing = kept + more, cheap + less, _greater(passing, back)
    if k.written_out:
        kept = layer_kept(block, Stream(tokens=seq_len, width=width), k, size)
    scores = SavedActivations(scores=kept.scores)
    if k.selective:
        cheap = kept + kept_selectively(ops, parts, block.count, width, seq_len, k, size).times(-1)
    experts = [op for op in ops if op.component == "experts"]
    shapes = [_shape(op, *op.mnk[1:]) for op in _fused(ops) if op.kind == "matmul" and op.mnk and op.component != "router"]
    return LayerMemory(
        dense=cut_params(ops, vocab=1).times(1 / block.count),
        expert_params=sum(op.count * op.params for op in experts) / block.count,
        shapes=frozenset(shapes),
        kept=kept,
        cheap=cheap if k.fused_attention else scores,
        passing=passing + SavedActivations(outer=stream),
    )


def _shape(op: Op, n: int, k: int) -> Shape:
    repeated = (n, 1) if op.cut == "whole" else (op.key_columns, op.cache_heads) if op.key_columns else (0, 1)
    return Shape(outputs=n, inputs=k, repeated=repeated[0], heads=repeated[1])


def _fused(ops: Sequence[Op]) -> list[Op]:
    """Rows with query, key and value, and gate and up, taken as one matrix, as training software holds them."""
    merged: dict[tuple[str, ...], Op] = {}
    fused = {"query": "query_key_value", "key": "query_key_value", "value": "query_key_value", "gate": "gate_up", "up": "gate_up"}
    for op in ops:
        key = (op.part, fused[op.role]) if op.role in fused else (op.name,)
        before = merged.get(key)
        if before and before.mnk and op.mnk:
            m, n, depth = before.mnk
            key_columns = before.key_columns + op.key_columns
            merged[key] = replace(before, mnk=(m, n + op.mnk[1], depth), key_columns=key_columns, cache_heads=op.cache_heads)
        else:
            merged[key] = op
    return list(merged.values())


def _greater(a: SavedActivations, b: SavedActivations) -> SavedActivations:
    total = [sum((kept.inner, kept.outer, kept.routed)) for kept in (a, b)]
    return a if total[0] >= total[1] else b
