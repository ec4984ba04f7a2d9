"""Work: what one sequence costs, read off the op table, and how tensor, expert and context parallelism may cut it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from estimators.cost.tensor_cut import CutParams, cut_params, cut_width
from estimators.counting.conventions import usual_convention
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.roles import Cut
from estimators.spec import Model, Op, Workload


@frozen
class Product:
    """A matrix product that each of `count` layers makes for one sequence: (m x k) times (k x n), forward.

    Attributes:
        cut: what tensor and expert parallelism divide, as its rows say.
        experts, per_token: of a mixture: how many there are, how many serve one token; 1 and 1 elsewhere, but for the groups of a filter.
        key_columns, key_heads: of its n outputs, those that are keys and values, and of how many heads.
        trained: whether the matrix needs a gradient.
        passes_gradient: whether its input needs one.
    """

    name: str
    cut: Cut
    m: int
    n: int
    k: int
    count: int
    experts: int = 1
    per_token: int = 1
    key_columns: int = 0
    key_heads: int = 1
    trained: bool = True
    passes_gradient: bool = True

    @property
    def forward_flop(self) -> int:
        """Of all layers together."""
        return 2 * self.m * self.n * self.k * self.count * self.per_token


@frozen
class SequenceCost:
    """Everything of one sequence that a step's time depends on; all layers together, nothing cut yet.

    Attributes:
        products: matrix products, those of one input taken together, as frameworks fuse them.
        attention_flop, masked_flop, unseen_flop: of the two attention products, all heads; what a causal kernel skips, and what the
            `causal` convention leaves out.
        has_windows: whether a share of peak counts `causal`; see usual_convention.
        score_elements: query-key pairs times heads, which an unfused kernel writes and reads.
        unfused_layers, unfused_flop, unfused_visible_flop, unfused_score_elements: of all that, what no fused kernel of today does:
            layers with sinks and a window.
        head_width: of one query.
        scan_layers, scan_flop, scan_backward_flop: layers with a recurrent state; products of their scans and the convolutions before them.
        inner_bytes, outer_bytes: element-wise traffic between the tensor-parallel matrices, and around them.
        dense, embedding, head: parameters by how tensor parallelism divides them; there are none of a tied head.
        expert_params: what expert parallelism shares out.
        trained_params: of all of them, those that training changes.
        quantised_params, quantised_bytes: of all of them, those that are stored in fewer bits than they are computed in, and as what.
        attention_backward_flop, masked_backward_flop, unseen_backward_flop: of the attention products backward, as far as a gradient flows.
        streams: vectors of model width that layers hand on of each token.
        kv_elements: elements of keys and values of one token, all layers: what context parallelism passes on.
        routed_layers: layers with experts.
        cut_width: what the width of every feed-forward that tensor parallelism divides is a multiple of; 0 where there is none.
        adapters: matrices that have an adapter.
        adapter_inputs, adapter_outputs: elements that these read and write for one token.
    """

    seq_len: int
    layers: int
    width: int
    vocab: int
    products: tuple[Product, ...]
    attention_flop: int
    masked_flop: int
    unseen_flop: int
    attention_backward_flop: int
    masked_backward_flop: int
    unseen_backward_flop: int
    has_windows: bool
    score_elements: int
    unfused_layers: int
    unfused_flop: int
    unfused_visible_flop: int
    unfused_score_elements: int
    head_width: int
    scan_layers: int
    scan_flop: int
    scan_backward_flop: int
    inner_bytes: int
    outer_bytes: int
    dense: CutParams
    embedding: CutParams
    head: CutParams
    expert_params: int
    trained_params: int
    quantised_params: int
    quantised_bytes: int
    kv_elements: int
    streams: int
    routed_layers: int
    experts: int
    experts_per_token: int
    heads: int
    kv_heads: int
    cut_width: int
    adapters: int
    adapter_inputs: int
    adapter_outputs: int

    @property
    def params(self) -> int:
        """Of the whole model, a tied head once."""
        return self.dense_params + self.expert_params + self.embedding_params + self.head_params

    @property
    def dense_params(self) -> int:
        """Of layers without their experts, and of what stands around them."""
        return int(self.dense.total)

    @property
    def embedding_params(self) -> int:
        """Of all tables."""
        return int(self.embedding.total)

    @property
    def head_params(self) -> int:
        """Of the head; 0 where it is tied."""
        return int(self.head.total)

    def forward_flop(self, causal: bool) -> int:
        """FLOP of one sequence forward, under `full` or with every masked pair left out: the `causal` convention but for the diagonal."""
        total = sum(p.forward_flop for p in self.products)
        return total + self.scan_flop + self.attention_flop - (self.masked_flop if causal else 0)

    def backward_flop(self, causal: bool) -> int:
        """FLOP of one sequence backward: a product for each gradient that is needed, of a matrix and of its input."""
        total = sum(p.forward_flop * (p.trained + p.passes_gradient) for p in self.products)
        return total + self.scan_backward_flop + self.attention_backward_flop - (self.masked_backward_flop if causal else 0)


def sequence_cost_of(model: Model, seq_len: int) -> SequenceCost:
    """What one sequence of `seq_len` tokens costs a model, read off its op table.

    Raises:
        BadValueError: a model without a sequence of tokens, such as a linear regression.
    """
    return _sequence_cost_of(model, seq_len)


@functools.lru_cache(maxsize=64)
def _sequence_cost_of(model: Any, seq_len: int) -> SequenceCost:
    ops = model.ops(Workload(phase="train", batch=1, seq_len=seq_len))
    stack = model.base.stack
    if stack is None:
        raise BadValueError(f"{model.name} is no language model with a head; layouts and step times are planned for those")
    attention = [op for op in ops if op.kind == "attention"]
    first, second = _adapter_halves(ops)
    scores = [op for op in attention if op.mnk and op.role == "scores"]
    unfused = _unfused(ops, attention)
    scans = [op for op in ops if op.kind == "scan" or _before_a_scan(op)]
    routed = [op for op in ops if op.component == "experts" and op.role == "down"]
    cuts = {name: cut_params([op for op in ops if _place(op) == name], stack.vocab) for name in ("dense", "embedding", "head")}
    return SequenceCost(
        seq_len=seq_len,
        layers=stack.layers,
        width=stack.width,
        vocab=stack.vocab,
        products=_products(ops, seq_len),
        attention_flop=sum(op.count * op.flop for op in attention),
        masked_flop=sum(op.count * op.masked_flop for op in attention),
        unseen_flop=sum(op.count * op.unseen_flop for op in attention),
        attention_backward_flop=sum(op.count * op.backward_flop for op in attention),
        masked_backward_flop=sum(op.count * op.backward_masked_flop for op in attention),
        unseen_backward_flop=sum(op.count * op.backward_unseen_flop for op in attention),
        has_windows=usual_convention(ops) == "causal",
        score_elements=_score_elements(scores),
        unfused_layers=sum(op.count for op in unfused if op.role == "scores"),
        unfused_flop=sum(op.count * op.flop for op in unfused),
        unfused_visible_flop=sum(op.count * (op.flop - op.masked_flop) for op in unfused),
        unfused_score_elements=_score_elements([op for op in unfused if op.role == "scores"]),
        head_width=max((op.mnk[2] for op in scores if op.mnk), default=0),
        scan_layers=sum(op.count for op in scans if _before_a_scan(op)),
        scan_flop=sum(op.count * op.flop for op in scans),
        scan_backward_flop=sum(op.count * op.backward_flop for op in scans),
        inner_bytes=_traffic(ops, inner=True),
        outer_bytes=_traffic(ops, inner=False),
        dense=cuts["dense"],
        embedding=cuts["embedding"],
        head=cuts["head"],
        expert_params=sum(op.count * op.params for op in ops if _place(op) == "experts"),
        trained_params=sum(op.count * op.trainable_params for op in ops),
        quantised_params=sum(op.count * op.params for op in ops if op.stored_bytes is not None),
        quantised_bytes=sum(op.count * op.stored_bytes for op in ops if op.stored_bytes is not None),
        kv_elements=stack.kv_elements,
        streams=stack.streams,
        routed_layers=sum(op.count for op in routed),
        experts=max((_experts(op) for op in routed), default=1),
        experts_per_token=max((op.matrices_per_token for op in routed), default=1),
        heads=stack.heads,
        kv_heads=stack.kv_heads,
        cut_width=cut_width(ops),
        adapters=sum(op.count for op in first),
        adapter_inputs=sum(op.count * op.mnk[2] * op.matrices_per_token for op in first if op.mnk),
        adapter_outputs=sum(op.count * op.mnk[1] * op.matrices_per_token for op in second if op.mnk),
    )


def _adapter_halves(ops: Sequence[Op]) -> tuple[list[Op], list[Op]]:
    """Rows of adapters: those that read what a matrix reads, and those that write beside it, from what the first ones made."""
    adapters = [op for op in ops if op.role == "adapter"]
    names = {op.name for op in adapters}
    return [op for op in adapters if names.isdisjoint(op.reads)], [op for op in adapters if not names.isdisjoint(op.reads)]


def _score_elements(scores: Sequence[Op]) -> int:
    return sum(op.count * op.flop // (2 * op.mnk[2]) for op in scores if op.mnk)


def _unfused(ops: Sequence[Op], attention: Sequence[Op]) -> list[Op]:
    """Products of layers with learned sinks whose mask hides more than the future: GPT-OSS alternates them with plain ones.

    cuDNN's fused attention takes sinks, FlashAttention does not; with a window beside them Transformer Engine multiplies plainly.
    """
    sinks = {op.part for op in ops if op.role == "sinks"}
    future = {op.part: (op.mnk[0] - 1, 2 * op.mnk[0]) for op in attention if op.mnk and op.role == "scores" and op.part in sinks}
    return [op for op in attention if op.part in future and op.masked_flop * future[op.part][1] > op.flop * future[op.part][0]]


def _before_a_scan(op: Op) -> bool:
    """Whether it is the convolution of a recurrent layer: each has one."""
    return op.role == "convolution" and op.component == "state_space"


def _experts(op: Op) -> int:
    return op.params * op.matrices_per_token // op.active_params if op.active_params else 1


def _place(op: Op) -> str:
    if op.active_params is not None:  # the experts themselves, or their adapters
        return "experts"
    return "embedding" if op.kind == "lookup" else "head" if op.role == "head" else "dense"


def _products(ops: tuple[Op, ...], seq_len: int) -> tuple[Product, ...]:
    merged: dict[tuple[object, ...], Product] = {}
    for op in ops:
        if op.kind != "matmul" or _before_a_scan(op) or not op.mnk:
            continue
        m, n, k = op.mnk
        expert = _place(op) == "experts"
        product = Product(
            name=op.name,
            cut=op.cut,
            m=seq_len if expert else m,
            n=n,
            k=k,
            count=op.count,
            experts=_experts(op) if expert else 1,
            per_token=op.matrices_per_token,
            key_columns=op.key_columns,
            key_heads=op.cache_heads,
            trained=not op.frozen,
            passes_gradient=op.backward_flop > op.weight_grad_flop,
        )
        key = (op.part, product.cut, product.m, k, op.count, op.reads, product.trained)
        before = merged.get(key)
        merged[key] = product if before is None else _beside(before, product)
    return tuple(merged.values())


def _beside(a: Product, b: Product) -> Product:
    """Two products of one input, as one."""
    from estimators.frozen import replace

    return replace(a, n=a.n + b.n, key_columns=a.key_columns + b.key_columns, key_heads=max(a.key_heads, b.key_heads))


def _traffic(ops: tuple[Op, ...], *, inner: bool) -> int:
    """Bytes of element-wise work in the layers: that between the divided matrices, of which each rank does its part; or the rest."""
    return sum(
        op.count * op.activation_bytes
        for op in ops
        if (op.kind in ("norm", "elementwise") or _before_a_scan(op)) and op.role != "edge_norm" and (op.cut != "whole") is inner
    )
