"""The backward pass that is left where a decoder is trained in part.

A frozen matrix has no weight gradient. An input needs a gradient only where something trained lies below it: under the
lowest trained op there is no backward pass at all. What an op reads is in its row (`reads`), so that one walk in the
order of the forward pass tells which gradients flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from estimators.architectures.attention import SOURCE
from estimators.architectures.block import Block
from estimators.architectures.connections import STREAMS
from estimators.architectures.decoder import Decoder
from estimators.frozen import field, frozen, replace
from estimators.spec import Op, Workload

Stage = Literal["edge", "below", "first", "above"]
"""Where a row is: outside the layers, or in layers below, at or above the lowest that is trained."""

Adapters = Callable[[Op, bool], tuple[Op, ...]]
"""From a row, and whether its input needs a gradient, to the rows of its adapter; none for most."""


Places = range | list[int]
"""Where in a stack the layers of a block are, from 0."""


def positions(base: Decoder, index: int) -> Places:
    """Where in the stack the layers of a block are, from 0."""
    if base.order:
        return [i for i, block in enumerate(base.order) if block == index]
    start = sum(block.count for block in base.blocks[:index])
    return range(start, start + base.blocks[index].count)


def trained_in_part(
    base: Decoder, w: Workload, *, lowest: int, base_frozen: bool, adapters: Adapters, source_fed: bool = False
) -> tuple[Op, ...]:
    """The op table of a decoder that is trained from layer `lowest` on.

    Args:
        lowest: index of the first layer that has something to train; the number of layers for none.
        base_frozen: whether the decoder itself is frozen throughout, so that only adapters are trained.
        adapters: what stands beside a row.
        source_fed: whether what cross-attention reads needs a gradient.
    """
    blocks, stages = apart(base.blocks, tuple(positions(base, index) for index in range(len(base.blocks))), lowest)
    split = replace(base, blocks=blocks, order=())
    names = tuple(split.prefix(index) for index in range(len(blocks)))
    walk = Walk(
        blocks=blocks,
        stages=stages,
        width=base.width,
        names=names,
        base_frozen=base_frozen,
        adapters=adapters,
        source_fed=source_fed,
    )
    below = (without_gradient(op) for op in base.embedding_ops(w))  # the embedding is frozen throughout
    return (*below, *walk.rows(w), *(_behind(base, op, stages, base_frozen) for op in base.head_ops(w)))


def _behind(base: Decoder, op: Op, stages: tuple[Stage, ...], base_frozen: bool) -> Op:
    """A row of the final norm, the head, or what stands before them. A tied head is the embedding."""
    look = base.final_norm
    trains_norm = not base_frozen and look is not None and (look.gain or look.bias)
    frozen = base_frozen or (op.component == "head" and base.tied)
    before_norm = op.component == STREAMS
    return with_gradients(op, frozen=frozen, fed=("first" in stages or (trains_norm and not before_norm),))


def apart(blocks: tuple[Block, ...], places: tuple[Places, ...], lowest: int) -> tuple[tuple[Block, ...], tuple[Stage, ...]]:
    """The blocks with layer `lowest` in one of its own, and the stage of each.

    Args:
        places: where the layers of each block are in the stack.
    """
    split: list[Block] = []
    stages: list[Stage] = []
    for block, where in zip(blocks, places, strict=True):
        below = min(max(0, lowest - where[0]), block.count) if isinstance(where, range) else sum(place < lowest for place in where)
        here = int(lowest in where)
        counts: tuple[tuple[Stage, int], ...] = (("below", below), ("first", here), ("above", block.count - below - here))
        for stage, count in counts:
            if count:
                split.append(replace(block, count=count))
                stages.append(stage)
    return tuple(split), tuple(stages)


@frozen
class Walk:
    """One walk through the rows of a stack of layers.

    Attributes:
        names: what the rows of each block are called before their own names.
        base_frozen: whether the layers themselves are frozen throughout.
        source_fed: whether what a cross-attention reads its keys and values from needs a gradient.
        flows: rows whose outputs need a gradient; grows on the way.
    """

    blocks: tuple[Block, ...]
    stages: tuple[Stage, ...]
    width: int
    names: tuple[str, ...]
    base_frozen: bool
    adapters: Adapters
    source_fed: bool = False
    flows: set[str] = field(default_factory=set, hash=False)

    def rows(self, w: Workload) -> Iterator[Op]:
        """Every row of the layers, with its adapter behind it."""
        for index in range(len(self.blocks)):
            yield from self._block(w, index)

    def _block(self, w: Workload, index: int) -> Iterator[Op]:
        """Rows of the layers of one block."""
        block, stage, width, prefix = self.blocks[index], self.stages[index], self.width, self.names[index]
        if stage == "below":
            yield from (replace(without_gradient(op), recomputed=False) for op in block.ops(w, width, prefix))
            return
        if block.of_source and not w.source_len:
            for op in block.ops(w, width, prefix):
                yield replace(op, frozen=self.base_frozen)
                yield from self.adapters(op, False)
            return
        stream = False  # whether the layer's input, or what its earlier parts made of it, needs a gradient
        for op in self._part(block.before(w, width, prefix), fed=stage == "above", source=stage == "above"):
            stream = stream or op.trainable_params > 0
            yield op
        for name, part in block.parts:
            given = stage == "above" or stream
            for op in self._part(block.around(w, width, f"{prefix}.{name}"), fed=given, source=given):
                stream = stream or op.trainable_params > 0
                yield op
            fed = stage == "above" or (stream and not block.parallel) or self._trains_norm_before(block)
            source = self.source_fed if part.crosses else fed
            for op in self._part(part.ops(w, width, f"{prefix}.{name}", block.count), fed=fed, source=source):
                stream = stream or op.trainable_params > 0 or source
                yield op
        yield from self._part(block.behind(w, width, prefix), fed=True, source=True)
        yield from self._part(block.between(w, width, prefix), fed=True, source=True)

    def _trains_norm_before(self, block: Block) -> bool:
        """Whether a trained norm stands before a part: then the part's input needs a gradient, even if the norm's does not."""
        return not self.base_frozen and block.prenorm and block.norms > 0 and (block.norm.gain or block.norm.bias)

    def _part(self, rows: list[Op], *, fed: bool, source: bool) -> Iterator[Op]:
        """Rows of one part of a layer; `fed`, `source`: whether its input, and that of its keys and values, needs a gradient."""
        made = {op.name for op in rows}  # keys of an earlier layer are not: they need a gradient where this layer's input does
        for op in rows:
            inputs = tuple(name in self.flows if name in made else source if name == SOURCE else fed for name in op.reads) or (fed,)
            adapter = self.adapters(op, any(inputs))
            row = with_gradients(op, frozen=self.base_frozen, fed=inputs)
            if adapter or row.trainable_params or any(inputs):
                self.flows.add(op.name)
            yield row
            yield from adapter


def with_gradients(op: Op, *, frozen: bool, fed: tuple[bool, ...]) -> Op:
    """A row with the backward pass that is left of it.

    Args:
        fed: whether the inputs need a gradient: one for a matrix product, two for a product of activations.
    """
    frozen = frozen or op.frozen
    if op.kind == "matmul":
        weight = 0 if frozen else op.weight_grad_flop
        inputs = op.backward_flop - op.weight_grad_flop if any(fed) else 0
        return replace(op, frozen=frozen, backward_flop=weight + inputs, saved_bytes=0 if frozen else op.saved_bytes)
    if op.kind in ("attention", "scan"):
        operands = fed if len(fed) == 2 else fed * 2
        return replace(op, backward_flop=sum(operands) * op.backward_flop // 2, saved_bytes=op.saved_bytes if any(fed) else 0)
    return replace(op, frozen=frozen)


def without_gradient(op: Op) -> Op:
    """A frozen row below all that is trained: no gradient, nothing kept."""
    return replace(op, frozen=True, backward_flop=0, saved_bytes=0)
