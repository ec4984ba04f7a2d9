"""A layer as transformers writes it: parts, the norms around them, residuals; and what it keeps of one sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estimators.architectures.alternating_updates import AlternatingUpdates
from estimators.architectures.attention import Attention
from estimators.architectures.block import Beside, Block
from estimators.architectures.compressed_attention import CompressedAttention
from estimators.architectures.decoder import Decoder
from estimators.architectures.delta_rule import GatedDeltaNet, KimiDeltaAttention
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.hyper_connections import HyperConnections
from estimators.architectures.latent_attention import LatentAttention
from estimators.architectures.layer_inputs import LayerInput
from estimators.architectures.learned_residual import LearnedResidual
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.part import Part
from estimators.architectures.shared_transformer import SharedTransformer
from estimators.architectures.short_convolution import ShortConvolution
from estimators.architectures.state_space import Mamba
from estimators.architectures.traced_decoder import TracedPart
from estimators.frozen import frozen, replace
from estimators.memory.autograd.alternating_updates import begin_streams, end_streams, layer_of_streams, learned_residual
from estimators.memory.autograd.attention import attended
from estimators.memory.autograd.compressed_attention import compressed_attention
from estimators.memory.autograd.experts import routed, routed_apart
from estimators.memory.autograd.feed_forward import fed_forward
from estimators.memory.autograd.hyper_connections import collapse_streams, mixed, read_streams
from estimators.memory.autograd.latent_attention import latently_attended
from estimators.memory.autograd.layer_inputs import added_by_layer, projected_for_layers
from estimators.memory.autograd.mixers import convolved, gated_delta, kimi_delta, mamba, mamba2
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.shared_transformer import shared_transformer
from estimators.memory.autograd.tape import Adapted, Tape, Tensor
from estimators.memory.autograd.traced import traced
from estimators.memory.kernels import Kernels
from estimators.memory.saved import SavedActivations


@frozen
class Stream:
    """What layers hand on.

    Attributes:
        tokens, width: of one sequence.
        size: bytes per element; 0 for the kernels' own.
        source_tokens: of the encoder's output, which cross-attention reads; 0 for none.
        lanes: streams beside one another.
    """

    tokens: int
    width: int
    size: int = 0
    source_tokens: int = 0
    lanes: int = 1

    @property
    def elements(self) -> int:
        """Of one sequence."""
        return self.tokens * self.width * self.lanes


def layer_kept(
    block: Block, stream: Stream, kernels: Kernels, size: int, adapted: Adapted | None = None, *, given: bool = False
) -> SavedActivations:
    """What one layer of a block keeps of a sequence, its input counted where it is kept."""
    return layer_tape(block, stream, kernels, size, adapted, given=given).kept()


def layer_tape(
    block: Block,
    stream: Stream,
    kernels: Kernels,
    size: int,
    adapted: Adapted | None = None,
    *,
    given: bool = False,
    is_lowest: bool = False,
) -> Tape:
    """The tape of one layer.

    Args:
        size: bytes per element of what is computed with.
        adapted: where its weights are frozen, and adapters are trained beside them.
        given: whether its input is held already, as by checkpointing.
        is_lowest: whether everything below it is frozen, so that its input needs no gradient.
    """
    tape = Tape(kernels, size, adapted)
    if block.of_source and not stream.source_tokens:
        return tape
    if block.connections:
        stream = replace(stream, lanes=block.connections.streams)
    x = tape.given(stream.elements, max(size, kernels.stream_bytes)) if given else _input(tape, stream)
    x = replace(x, grad=not is_lowest)
    if isinstance(block.connections, AlternatingUpdates):
        layer_of_streams(tape, block, x, stream.tokens, stream.width, lambda part, source: _run(tape, part, source, stream))
    elif block.parallel:
        _parallel(tape, block, x, stream)
    elif block.prenorm:
        _sequential(tape, block, x, stream)
    else:
        _norms_behind(tape, block, x, stream)
    return tape


def stack_kept(layers: Sequence[tuple[int, SavedActivations, float]], *, recomputed: bool) -> SavedActivations:
    """What a stack of layers keeps; recomputed, their inputs and the one layer that is run again, the largest.

    Args:
        layers: of each kind how many there are, what one keeps, and bytes of its input.
    """
    if not recomputed:
        return sum((layer.times(count) for count, layer, _ in layers), SavedActivations())
    inputs = SavedActivations(outer=sum(count * input_bytes for count, _, input_bytes in layers))
    return inputs + max((layer for _, layer, _ in layers), key=lambda layer: layer.per_sequence + layer.once, default=SavedActivations())


def begin_kept(model: Decoder, tokens: int, kernels: Kernels, size: int) -> SavedActivations:
    """What a decoder keeps between its table of tokens and the first layer: the inputs of a projection and of a norm."""
    tape = Tape(kernels, size)
    edge = model.embedding_width or model.width
    x = _input(tape, Stream(tokens=tokens, width=edge))
    if edge != model.width:
        x = tape.linear(x, tokens * model.width, "outer")
    if model.embedding_norm:
        normed(tape, model.embedding_norm, x, model.width)
    if model.layer_inputs:
        projected_for_layers(tape, model.layer_inputs, x, tokens, model.layers)
    if isinstance(model.connections, AlternatingUpdates):
        begin_streams(tape, x, model.streams, tokens, model.width)
    return tape.kept()


def end_kept(model: Decoder, tokens: int, kernels: Kernels, size: int, adapted: Adapted | None = None) -> SavedActivations:
    """What the final norm and the input of the head keep."""
    tape, norm = Tape(kernels, size, adapted), model.final_norm
    x = _input(tape, Stream(tokens=tokens, width=model.width, lanes=model.streams))
    if isinstance(model.connections, AlternatingUpdates):
        x = end_streams(tape, x, tokens, model.width)
    if isinstance(model.connections, HyperConnections):
        x = collapse_streams(tape, model.connections, x, tokens, model.width)
    tape.linear(normed(tape, norm, x, model.width) if norm else x, 0, "outer")
    return tape.kept()


def _input(tape: Tape, stream: Stream) -> Tensor:
    return tape.tensor(stream.elements, stream.size or max(tape.size, tape.kernels.stream_bytes), "outer")


def _sequential(tape: Tape, block: Block, x: Tensor, stream: Stream) -> None:
    """Norm, part, a second norm where there are two for each part, residual; the first parts go without where norms are too few."""
    last = len(block.parts) - block.unnormed
    behind = block.norms > last
    without = max(0, last - block.norms)
    around = block.connections if isinstance(block.connections, HyperConnections) else None
    for i, (_, part) in enumerate(block.parts):
        streams = x
        if around:
            x, written, mixture = read_streams(tape, around, streams, stream.tokens, stream.width)
        source = x if i < without or i >= last else normed(tape, block.norm, x, stream.width)
        if isinstance(part, Experts) and part.apart:
            out = routed_apart(tape, part, block.norm, source, x, stream.tokens, stream.width)
        else:
            out = _run(tape, part, source, stream)
        if behind and i < last:
            out = normed(tape, block.norm, out, stream.width)
        x = mixed(tape, streams, out, written, mixture) if around else tape.add(x, out)


def _norms_behind(tape: Tape, block: Block, x: Tensor, stream: Stream) -> None:
    """Part, norm, residual; or residual, norm."""
    for _, part in block.parts:
        out = _run(tape, part, x, stream)
        if not block.norm_of_sum:
            out = normed(tape, block.norm, out, stream.width)
        x = tape.add(x, out)
        if block.norm_of_sum:
            x = normed(tape, block.norm, x, stream.width)


def _parallel(tape: Tape, block: Block, x: Tensor, stream: Stream) -> None:
    """All parts read the layer's input, behind one norm or one each."""
    shared = normed(tape, block.norm, x, stream.width)
    for i, (_, part) in enumerate(block.parts):
        _run(tape, part, shared if block.norms == 1 or i == 0 else normed(tape, block.norm, x, stream.width), stream)


def _run(tape: Tape, part: Part, x: Tensor, stream: Stream) -> Tensor:
    t, width = stream.tokens, stream.width
    if tape.kernels.dropout_bytes:
        tape.index(t * width, "outer", size=tape.kernels.dropout_bytes)
    if isinstance(part, Attention):
        return attended(tape, part, x, t, width, *_source(tape, part, stream))
    if isinstance(part, Beside):
        return [_run(tape, each, x, stream) for _, each in part.parts][-1]
    if (by_itself := BY_ITSELF.get(type(part))) is not None:
        return by_itself(tape, part, x, t, width)
    from estimators.memory.autograd.encoder_parts import encoded  # deferred: most models are decoders

    return encoded(tape, part, x, t, width, lambda inner: _run(tape, inner, x, stream))


BY_ITSELF: Mapping[type[Part], Callable[[Tape, Any, Tensor, int, int], Tensor]] = {
    CompressedAttention: compressed_attention,
    Experts: routed,
    FeedForward: fed_forward,
    GatedDeltaNet: gated_delta,
    KimiDeltaAttention: kimi_delta,
    LatentAttention: latently_attended,
    LayerInput: added_by_layer,
    LearnedResidual: learned_residual,
    Mamba: mamba,
    Mamba2: mamba2,
    SharedTransformer: shared_transformer,
    ShortConvolution: convolved,
    TracedPart: traced,
}
"""Of decoders, what reads nothing but its input: kind of part -> how it is written."""


def _source(tape: Tape, part: Attention, stream: Stream) -> tuple[Tensor | None, int]:
    """What a cross-attention makes keys and values of: the encoder's output, which is no layer's own."""
    if not part.cross:
        return None, 0
    tokens = stream.source_tokens
    return tape.given(tokens * stream.width, max(tape.size, tape.kernels.stream_bytes)), tokens
