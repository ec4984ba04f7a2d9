"""Adapters on an encoder and the decoder beside it: one walk through each, joined by what the decoder reads of the encoder."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.architectures.block import Block
from estimators.architectures.encoder import Tower
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.freezing import Adapters, Walk, apart, with_gradients, without_gradient
from estimators.architectures.rows import idle
from estimators.spec import Op, Workload


def adapted_towers(base: EncoderDecoder, workload: Workload, adapters: Adapters) -> tuple[Op, ...]:
    """The op table of a frozen encoder-decoder with adapters beside some rows of its layers.

    Raises:
        BadValueError: as the table of the model itself.
    """
    once, w = base.works(workload)
    encoder = list(_tower(base.encoder, once, "encoder.", adapters, source_fed=False))
    fed = any(op.trainable_params for op in encoder)
    if w.phase == "decode":
        encoder = [idle(op) for op in encoder]
    decoder = list(_tower(base.decoder, w, "decoder.", adapters, source_fed=fed))
    behind = fed or any(op.trainable_params for op in decoder)
    return (*encoder, *decoder, *(with_gradients(op, frozen=True, fed=(behind,)) for op in base.head_ops(w)))


def _tower(tower: Tower, w: Workload, prefix: str, adapters: Adapters, *, source_fed: bool) -> Iterator[Op]:
    """Rows of one tower: what comes before its layers has nothing to train below it, so no gradient."""
    blocks = tuple(block for block in tower.blocks if isinstance(block, Block))
    starts = [sum(block.count for block in blocks[:index]) for index in range(len(blocks))]
    adapted = (
        start
        for start, block in zip(starts, blocks, strict=True)
        if any(adapters(op, True) for op in block.ops(w, tower.width))  # the first layer of the first such block
    )
    layers = sum(block.count for block in blocks)
    lowest = 0 if source_fed else next(adapted, layers)
    places = tuple(range(start, start + block.count) for start, block in zip(starts, blocks, strict=True))
    split, stages = apart(blocks, places, lowest)
    names = tuple(f"{prefix}layer.{index}" for index in range(len(split)))
    walk = Walk(blocks=split, stages=stages, width=tower.width, names=names, base_frozen=True, adapters=adapters, source_fed=source_fed)
    stem, whole = tower.stem.ops(w, tower.width, prefix), tower.ops(w, prefix)
    yield from (without_gradient(op) for op in stem)
    yield from walk.rows(w)
    if tower.final_norm:
        yield with_gradients(whole[-1], frozen=True, fed=(lowest < layers,))
