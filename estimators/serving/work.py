"""What a served model makes every step do, per token and per key of the cache: its op table in a few sums, before it is cut."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from estimators.architectures.decoder import Decoder
from estimators.cost.tensor_cut import CutParams, cut_params
from estimators.frozen import frozen
from estimators.spec import Op, Workload

LONG = (1 << 24) - 1
"""Tokens of a context that is longer than any window, and that ends a chunk of any power of two."""

PLAIN_BYTES = 2
"""Of a weight or an activation in 16 bits."""


@frozen
class CacheWork:
    """Layers of one kind of attention, all together.

    Attributes:
        layers: of them.
        window: keys that a query sees at most; of one that stands for several tokens, its share of each is meant here and below.
        elements_per_key: that one key and its value leave in the cache of one layer.
        queries: heads of queries.
        heads: that the cache holds keys and values of; more ranks than that hold copies.
        decode_flop: of one query and one key, all heads, in a step that decodes.
        prefill_flop: the same where a prompt is read.
    """

    layers: int
    window: int
    elements_per_key: float
    queries: int
    heads: int
    decode_flop: float
    prefill_flop: float


@frozen
class ExpertWork:
    """Layers of one kind of experts, all together.

    Attributes:
        layers: of them.
        num, per_token: experts of a layer, and those that one token is sent to.
        params, num_bytes: of one expert, as it is held.
    """

    layers: int
    num: int
    per_token: int
    params: float
    num_bytes: float


@frozen
class ModelWork:
    """A model's work.

    Attributes:
        layers, width: L, D.
        vocab: rows of the head.
        stored, stored_bytes: parameters of matrices on every token that the format holds, and their bytes.
        plain: of those that stay in 16 bits: what the format leaves, norms, routers, biases.
        head, head_bytes: of the head, multiplied once for each token that is written.
        caches, experts: kinds of attention and of experts.
        state_bytes: that each sequence's step reads and writes, whatever its context: of recurrent layers.
        cut_elements, whole_elements: read and written around the products for each token, divided over ranks or on each of them.
    """

    layers: int
    width: int
    vocab: int
    stored: CutParams
    stored_bytes: CutParams
    plain: CutParams
    head: CutParams
    head_bytes: CutParams
    caches: tuple[CacheWork, ...]
    experts: tuple[ExpertWork, ...]
    state_bytes: float
    cut_elements: float
    whole_elements: float

    @property
    def expert_layers(self) -> int:
        """Layers with experts."""
        return sum(kind.layers for kind in self.experts)


@functools.lru_cache(maxsize=256)
def model_work(model: Decoder) -> ModelWork:
    """The work of a model that is held as its rows say.

    Of ways to run it at different cost (latent attention) it is the one with the least work in a long decode step, as engines run it.
    """
    ways = tuple(model.code_paths.values()) or (model,)
    path = min(ways, key=lambda way: sum(op.count * op.flop for op in way.ops(_decode(LONG))))
    table = path.ops(_decode(0))
    products = [op for op in table if op.kind == "matmul" and op.active_params is None and op.role != "head"]
    held = [op for op in products if op.stored_bytes is not None]
    plain = [op for op in table if op.role != "head" and op.kind != "lookup" and op not in held and op.component != "experts"]
    head = [op for op in table if op.role == "head"]
    others = [op for op in table if op.kind in ("lookup", "norm", "elementwise")]
    return ModelWork(
        layers=path.layers,
        width=path.width,
        vocab=path.vocab,
        stored=cut_params(held, path.vocab),
        stored_bytes=sum((cut_params([op], path.vocab).times(_held_bytes(op) / op.params) for op in held), CutParams()),
        plain=cut_params(plain, path.vocab),
        head=CutParams(tables=sum(op.mnk[1] * op.mnk[2] for op in head if op.mnk), vocab=path.vocab),
        head_bytes=CutParams(tables=sum(op.weight_bytes for op in head), vocab=path.vocab),
        caches=_caches(path),
        experts=_experts(table),
        state_bytes=sum(op.count * op.cache_bytes for op in table if op.kind != "attention"),
        cut_elements=sum(op.count * op.activation_bytes for op in others if op.cut != "whole") / PLAIN_BYTES,
        whole_elements=sum(op.count * op.activation_bytes for op in others if op.cut == "whole") / PLAIN_BYTES,
    )


def _decode(context_len: int) -> Workload:
    return Workload(phase="decode", context_len=context_len)


def _held_bytes(op: Op) -> int:
    """Of one copy."""
    return op.params * PLAIN_BYTES if op.stored_bytes is None else op.stored_bytes


def _experts(table: Sequence[Op]) -> tuple[ExpertWork, ...]:
    """One entry for each number of experts and of those that a token uses."""
    kinds: dict[tuple[int, int], list[Op]] = {}
    for op in table:
        if op.kind == "matmul" and op.active_params:
            num = op.params * op.matrices_per_token // op.active_params
            kinds.setdefault((num, op.matrices_per_token), []).append(op)
    found = []
    for (num, per_token), ops in kinds.items():
        layers = sum(op.count for op in ops if op.role == "down")
        params = sum(op.count * op.params for op in ops) / (num * layers)
        num_bytes = sum(op.count * _held_bytes(op) for op in ops) / (num * layers)
        found.append(ExpertWork(layers=layers, num=num, per_token=per_token, params=params, num_bytes=num_bytes))
    return tuple(found)


def _caches(model: Decoder) -> tuple[CacheWork, ...]:
    """One entry for each kind of attention that a step finds in the table, equal ones together."""
    kinds: dict[tuple[float, ...], int] = {}
    decode = _by_part(model.ops(_decode(LONG)))
    prefill = functools.cache(lambda tokens: _by_part(model.ops(Workload(phase="prefill", seq_len=tokens))))
    for part, ops in decode.items():
        scores = next(op for op in ops if op.role == "scores")
        assert scores.mnk
        keys = scores.mnk[1] * scores.tokens_per_key
        elements = sum(op.cache_bytes for op in ops) / PLAIN_BYTES / keys
        flop = sum(op.flop for op in ops) / keys
        queries = scores.flop // (2 * scores.mnk[1] * scores.mnk[2])
        tokens = 2 * scores.tokens_per_key
        read = sum(op.flop for op in prefill(tokens)[part]) / tokens**2
        kind = (keys, elements, queries, scores.cache_heads, flop, read)
        kinds[kind] = kinds.get(kind, 0) + scores.count
    return tuple(
        CacheWork(
            layers=layers,
            window=int(window),
            elements_per_key=elements,
            queries=int(queries),
            heads=int(heads),
            decode_flop=decode_flop,
            prefill_flop=prefill_flop,
        )
        for (window, elements, queries, heads, decode_flop, prefill_flop), layers in kinds.items()
    )


def _by_part(ops: Sequence[Op]) -> dict[str, list[Op]]:
    parts: dict[str, list[Op]] = {}
    for op in ops:
        if op.kind == "attention" and (op.flop or op.cache_bytes):  # layers that attend to images do nothing where there is none
            parts.setdefault(op.part, []).append(op)
    return parts
