"""Parts of which encoders of images, sound and text are made, and no decoder: windows, biases by place, gates over them, scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from estimators.architectures.disentangled import DisentangledAttention
from estimators.architectures.part import Part
from estimators.architectures.pyramid import MixedFeedForward, ReducedAttention
from estimators.architectures.vision import BiasedAttention, Scaled, WindowedAttention
from estimators.architectures.waves import GatedBiasAttention
from estimators.memory.autograd.attention import attended
from estimators.memory.autograd.disentangled import disentangled
from estimators.memory.autograd.pyramid import mixed_feed_forward, reduced_attention
from estimators.memory.autograd.tape import Tape, Tensor


def encoded(tape: Tape, part: Part, x: Tensor, t: int, width: int, run: Callable[[Part], Tensor]) -> Tensor:
    """What a part makes of its input.

    Args:
        t: tokens of the sequence.
        run: writes a part that this one holds, of the same input.
    """
    if isinstance(part, Scaled):
        out = run(part.part)
        tape.keep(out)
        return tape.like(out, size=tape.weight_size)
    return BY_ITSELF[type(part)](tape, part, x, t, width)


def _biased(tape: Tape, part: BiasedAttention, x: Tensor, t: int, width: int) -> Tensor:
    return attended(tape, part.attention, x, t, width)


def _with_gated_bias(tape: Tape, part: GatedBiasAttention, x: Tensor, t: int, width: int) -> Tensor:
    """Two gates for each query of a head, a·(b·scale - 1) + 2; the bias, of all heads, is the first layer's."""
    heads = part.attention.heads
    if part.buckets:
        tape.keep(tape.tensor(heads * t * t, tape.weight_size, "inner"))
    tape.of_result(tape.linear(tape.like(x), 2 * heads * t, "inner"))
    for _ in range(2):  # what a is multiplied with, and the sum that the bias is
        tape.keep(tape.tensor(heads * t, tape.weight_size, "inner"))
    return attended(tape, part.attention, x, t, width)


def _in_windows(tape: Tape, part: WindowedAttention, x: Tensor, t: int, width: int) -> Tensor:
    """Each window a sequence of its own; tokens are copied into windows."""
    windows = -(-part.grid[0] // part.window) * -(-part.grid[1] // part.window)
    seen = part.window**2
    if part.bias_width:
        return _by_angles(tape, part, tape.like(x, elements=windows * seen * width), windows * seen, width, seen)
    return attended(tape, part.attention, tape.like(x, elements=windows * seen * width), windows * seen, width, seen=seen)


def _by_angles(tape: Tape, part: WindowedAttention, x: Tensor, t: int, width: int, seen: int) -> Tensor:
    """Queries and keys divided by their lengths, scores by a learned scale, and biases that a network makes once (Swin v2)."""
    heads, inner = part.attention.heads, part.attention.inner_width
    queries, keys, values = (tape.linear(x, t * inner, "inner") for _ in range(3))
    unit = []
    for each in (queries, keys):
        tape.keep(each, *(tape.tensor(heads * t, tape.size, "inner") for _ in range(2)))  # its lengths, and those held above 0
        unit.append(tape.like(each))
    scores = tape.matmul(unit[0], unit[1], heads * t * seen, "scores")
    distances = (2 * part.window - 1) ** 2
    for elements in (2 * distances, part.bias_width * distances, heads * seen * seen):
        tape.keep(tape.tensor(elements, tape.size, "once"))
    tape.keep(scores, tape.tensor(heads, tape.weight_size, "once"))
    probabilities = tape.softmax(tape.like(scores, size=tape.weight_size))
    context = tape.matmul(probabilities, values, t * inner, "inner")
    return tape.linear(tape.like(context), t * width, "outer")


BY_ITSELF: Mapping[type[Part], Callable[[Tape, Any, Tensor, int, int], Tensor]] = {
    BiasedAttention: _biased,
    DisentangledAttention: disentangled,
    GatedBiasAttention: _with_gated_bias,
    MixedFeedForward: mixed_feed_forward,
    ReducedAttention: reduced_attention,
    WindowedAttention: _in_windows,
}
"""What holds no other part: kind of part -> how it is written."""
