"""What stands around the layers of encoders and their kin: stems, final norms, heads; and a whole tower."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.disentangled import DistanceStem
from estimators.architectures.encoder import Projection, SharedBlock, Tower
from estimators.architectures.pooling import AttentionPool
from estimators.architectures.stems import FrameStem, PatchStem, Stem, TokenStem
from estimators.architectures.vision import Stage
from estimators.architectures.waves import WaveStem
from estimators.frozen import frozen
from estimators.memory.autograd.activation_functions import activated
from estimators.memory.autograd.attention import attended
from estimators.memory.autograd.feed_forward import fed_forward
from estimators.memory.autograd.layers import Stream, layer_kept, stack_kept
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import INDEX_BYTES, Adapted, Tape, Tensor
from estimators.memory.kernels import Kernels
from estimators.memory.saved import SavedActivations


@frozen
class TowerMemory:
    """What a tower keeps of one sequence.

    Attributes:
        layers: each kind of layer: how many, what one keeps, bytes of its input.
        around: of the stem, the final norm, and merges between stages.
        output: what the tower hands on.
    """

    layers: tuple[tuple[int, SavedActivations, float], ...]
    around: SavedActivations
    output: Stream

    def kept(self, *, recomputed: bool) -> SavedActivations:
        """All of it, see `stack_kept`."""
        return self.around + stack_kept(self.layers, recomputed=recomputed)


def tower_memory(
    tower: Tower, tokens: int, kernels: Kernels, size: int, *, source_tokens: int = 0, adapted: Adapted | None = None
) -> TowerMemory:
    """A tower over sequences of `tokens`, whose cross-attention reads `source_tokens`; frozen where adapters stand beside it."""
    tape = Tape(kernels, size, adapted)
    x = _stem(tape, tower.stem, tower.width, tokens)
    stream = Stream(tokens=tokens, width=tower.width, size=x.size, source_tokens=source_tokens)
    layers: list[tuple[int, SavedActivations, float]] = []
    for each in tower.blocks:
        if isinstance(each, Stage):
            stream = Stream(tokens=each.grid[0] * each.grid[1], width=each.width, size=x.size)
        block = _block(each)
        layers.append((block.count, layer_kept(block, stream, kernels, size, adapted), float(stream.tokens * stream.width * stream.size)))
        if isinstance(each, Stage):
            x = _behind_stage(tape, each, x.size)
    if not any(isinstance(each, Stage) for each in tower.blocks):
        x = tape.tensor(stream.tokens * stream.width, stream.size, "outer")
    if tower.final_norm:
        x = normed(tape, tower.final_norm, tape.view(x, tower.width) if tower.norm_per_sample else x, tower.width)
    if tower.pool:
        _pool(tape, tower.pool, x, tokens, tower.width)
    width = stream.width
    return TowerMemory(layers=tuple(layers), around=tape.kept(), output=Stream(tokens=x.elements // width, width=width, size=x.size))


def heads_kept(heads: Sequence[Projection], output: Stream, kernels: Kernels, size: int) -> SavedActivations:
    """What linear layers behind a tower keep: what they read, and of those before a head the activation and the norm."""
    tape = Tape(kernels, size)
    x = tape.tensor(output.tokens * output.width, output.size, "outer")
    for head in heads:
        rows = output.tokens if head.per == "token" else 1
        made = tape.linear(tape.view(x, rows * head.d_in), rows * head.d_out, "outer")
        if head.component == "head":
            continue
        x = activated(tape, "tanh" if head.component == "pooler" else "gelu", made)
        if head.norm:
            x = normed(tape, head.norm, x, head.d_out)
    return tape.kept()


def _block(each: object) -> Block:
    """The layers of what stands in a tower."""
    if isinstance(each, Stage):
        return each.layers
    if isinstance(each, SharedBlock):
        return each.block
    assert isinstance(each, Block)
    return each


def _stem(tape: Tape, stem: Stem, width: int, t: int) -> Tensor:
    """What the layers read: of indices, norms and projections before them."""
    if isinstance(stem, DistanceStem):
        if stem.distance_norm and stem.distances:
            tape.keep(tape.tensor(stem.distances * 2, tape.weight_size, "once"))
        return _stem(tape, stem.tokens, width, t)
    if isinstance(stem, TokenStem):
        return _tokens(tape, stem, width, t)
    if isinstance(stem, PatchStem):
        patches = tape.linear(tape.tensor(stem.channels * stem.image[0] * stem.image[1], 4, "outer", grad=False), t * width, "outer")
        if stem.positions or stem.extra_tokens:
            patches = tape.cast(patches, tape.weight_size)
        return normed(tape, stem.norm, patches, width) if stem.norm else patches
    if isinstance(stem, WaveStem):
        return _waves(tape, stem, width)
    assert isinstance(stem, FrameStem)
    tape.index(t, "once")
    first = activated(tape, "gelu", tape.linear(tape.tensor(2 * t * stem.bins, 4, "outer", grad=False), 2 * t * width, "outer"))
    return tape.cast(activated(tape, "gelu", tape.linear(first, t * width, "outer")), tape.weight_size)


def _pool(tape: Tape, pool: AttentionPool, x: Tensor, t: int, width: int) -> None:
    """Attention of one query, a norm, a feed-forward, a sum."""
    out = attended(tape, pool.attention, tape.tensor(width, tape.weight_size, "outer"), 1, width, x, t)
    fed_forward(tape, pool.feed_forward, normed(tape, LAYER_NORM, out, width), 1, width)


def _waves(tape: Tape, stem: WaveStem, width: int) -> Tensor:
    """Filters, their norms and activations; a projection; a filter for positions, added to what it reads."""
    x = tape.tensor(stem.samples, 4, "outer", grad=False)
    for i, (channels, length) in enumerate(zip(stem.widths, stem.lengths[1:], strict=True)):
        made = tape.linear(x, length * channels, "outer")
        x = activated(tape, stem.activation, normed(tape, LAYER_NORM, made, channels) if i < stem.normed else made)
    x = normed(tape, LAYER_NORM, x, stem.widths[-1]) if stem.projection_norm else x
    x = tape.linear(x, stem.tokens * width, "outer")
    x = tape.add(x, activated(tape, stem.activation, tape.linear(x, stem.tokens * width, "outer")))
    return normed(tape, stem.norm, x, width) if stem.norm else x


def _tokens(tape: Tape, stem: TokenStem, width: int, t: int) -> Tensor:
    edge = stem.embedding_width or width
    tape.index(t * (1 + bool(stem.token_types)), "outer")
    if stem.positions:
        tape.index(t, "once")
    if stem.bias_buckets:
        tape.keep(tape.tensor(t * t, INDEX_BYTES, "once", grad=False))
    x = tape.tensor(t * edge, tape.weight_size, "outer")
    if stem.norm and not stem.norm_after_projection:
        x = normed(tape, stem.norm, x, edge)
    if edge != width or stem.always_projects:
        x = tape.linear(x, t * width, "outer")
    return normed(tape, stem.norm, x, width) if stem.norm and stem.norm_after_projection else x


def _behind_stage(tape: Tape, stage: Stage, size: int) -> Tensor:
    """Four neighbours joined, normed and multiplied; behind the last stage a norm."""
    rows = -(-stage.grid[0] // 2) * -(-stage.grid[1] // 2) if stage.merges else stage.grid[0] * stage.grid[1]
    x = tape.tensor(rows * stage.width * (4 if stage.merges else 1), size, "outer")
    if stage.merges and stage.norm_behind:
        return normed(tape, LAYER_NORM, tape.linear(x, rows * 2 * stage.width, "outer"), 2 * stage.width)
    x = normed(tape, LAYER_NORM, x, stage.width * (4 if stage.merges else 1))
    return tape.linear(x, rows * 2 * stage.width, "outer") if stage.merges else x
