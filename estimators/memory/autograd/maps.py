"""What a convolutional network keeps of one image: filters, batch norms, activations, and ConvNeXt's linear layers on positions."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.architectures.block import LAYER_NORM
from estimators.architectures.convolution import Convolution, Inverted, Layer, Map, MapNorm
from estimators.architectures.pyramid import Pyramid, Segmentation
from estimators.frozen import frozen
from estimators.memory.autograd.activation_functions import activated
from estimators.memory.autograd.layers import Stream, layer_kept, stack_kept
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor
from estimators.memory.kernels import Kernels
from estimators.memory.saved import SavedActivations


def maps_kept(layers: Sequence[Layer], kernels: Kernels, size: int) -> SavedActivations:
    """What all layers keep. A layer's input is counted by the one that made it, where its activation's gradient reads the result."""
    total, before = SavedActivations(), _Before(size=size)
    for layer in layers:
        tape = Tape(kernels, size)
        result = _run(tape, layer, before)
        total += tape.kept().times(1 if isinstance(layer, MapNorm) else layer.count)
        if not (isinstance(layer, Convolution) and layer.name.endswith(".shortcut")):
            after = layer.after if isinstance(layer, Convolution) else layer.map
            before = _Before(size=result.size, kept=tape.is_kept(result), map=after)
    return total


@frozen
class _Before:
    """What the layer before left: bytes per element, whether it keeps it already, the map."""

    size: int
    kept: bool = False
    map: Map = (0, 0)


def _run(tape: Tape, layer: Convolution | Inverted | MapNorm, before: _Before) -> Tensor:
    if isinstance(layer, Convolution):
        return _convolved(tape, layer, before)
    if isinstance(layer, Inverted):
        positions = layer.map[0] * layer.map[1]
        x = tape.linear(tape.tensor(positions * layer.width, tape.size, "outer"), positions * 4 * layer.width, "outer")
        x = activated(tape, layer.function, x)
        if layer.response_normed:  # the map for its size and for its product with that, and the product for the gain
            tape.keep(x, product := tape.like(x))
            x = tape.like(product, size=tape.weight_size)
        x = tape.linear(x, positions * layer.width, "outer")
        if layer.scaled:
            tape.keep(x)
        return tape.tensor(x.elements, tape.weight_size, "outer")
    return normed(tape, LAYER_NORM, tape.tensor(layer.map[0] * layer.map[1] * layer.width, before.size, "outer"), layer.width)


def _convolved(tape: Tape, layer: Convolution, before: _Before) -> Tensor:
    """A filter, a norm over its channels (of ConvNeXt over each position's), an activation."""
    result = tape.linear(_input(tape, layer, before), layer.after[0] * layer.after[1] * layer.channels_out, "outer")
    if layer.norm and layer.batch_norm and not (layer.norm.gain or layer.norm.bias):
        result = tape.like(result)  # a held norm multiplies by numbers that nothing is learned of
    elif layer.norm and layer.batch_norm:
        tape.keep(result, tape.tensor(2 * layer.channels_out, 4, "once"))
        result = tape.like(result)
    elif layer.norm:
        result = normed(tape, layer.norm, result, layer.channels_out)
    return activated(tape, layer.function, result) if layer.activation else result


def _input(tape: Tape, layer: Convolution, before: _Before) -> Tensor:
    """What a filter reads: the map before it, that map with a border, or what a pooling made of it, which keeps where the largest were."""
    sides = layer.before
    if layer.bordered:
        stride = -(-layer.before[0] // layer.after[0])
        sides = ((layer.after[0] - 1) * stride + layer.kernel[0], (layer.after[1] - 1) * stride + layer.kernel[1])
    elements, size = sides[0] * sides[1] * layer.channels_in, 4 if layer.reads_data else before.size
    pooled = before.kept and layer.before != before.map and not layer.name.endswith(".shortcut")
    if pooled:
        tape.index(elements, "outer")
    read_before = (before.kept and not pooled and not layer.bordered) or layer.name.endswith(".shortcut")
    return tape.given(elements, size) if read_before else tape.tensor(elements, size, "outer")


def pyramid_kept(model: Pyramid, kernels: Kernels, size: int, *, recomputed: bool) -> SavedActivations:
    """What the stages of a pyramid keep: each its filter, layers and norms; of heads what labels every position."""
    total, entering, channels = SavedActivations(), 4, model.stages[0].stem.channels_in
    for stage in model.stages:
        tape, tokens = Tape(kernels, size), stage.grid[0] * stage.grid[1]
        before = stage.stem.before[0] * stage.stem.before[1] * channels
        x = tape.linear(tape.tensor(before, entering, "outer"), tokens * stage.width, "outer")
        x = normed(tape, LAYER_NORM, x, stage.width)
        stream = Stream(tokens=tokens, width=stage.width, size=x.size)
        layer = layer_kept(stage.layers, stream, kernels, size)
        out = normed(tape, LAYER_NORM, tape.tensor(tokens * stage.width, x.size, "outer"), stage.width)
        if model.segmentation:
            tape.linear(out, 0, "outer")
        kinds = ((stage.layers.count, layer, float(tokens * stage.width * x.size)),)
        total += tape.kept() + stack_kept(kinds, recomputed=recomputed)
        entering, channels = out.size, stage.width
    return total + (_segmented(Tape(kernels, size), model.segmentation) if model.segmentation else SavedActivations())


def _segmented(tape: Tape, head: Segmentation) -> SavedActivations:
    """Every map made as large as the first, joined; a mix of them, its norm over the batch, an activation, the classes."""
    positions = head.grids[0][0] * head.grids[0][1]
    mixed = tape.linear(tape.tensor(positions * head.width * len(head.widths), tape.size, "outer"), positions * head.width, "outer")
    tape.keep(mixed, tape.tensor(2 * head.width, 4, "once"))
    tape.linear(activated(tape, "relu", tape.like(mixed)), 0, "outer")
    return tape.kept()
