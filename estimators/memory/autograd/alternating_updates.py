"""Alternating updates as transformers writes them: what predicting and correcting the streams around a layer keeps."""

from __future__ import annotations

from collections.abc import Callable

from estimators.architectures.block import Beside, Block, Norm
from estimators.architectures.learned_residual import LearnedResidual
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor

POWER_NORM = Norm(written="rms_power")
Run = Callable[[Part, Tensor], Tensor]
"""A part of a layer, and what it reads, to what it puts out."""


def layer_of_streams(tape: Tape, block: Block, x: Tensor, t: int, width: int, run: Run) -> None:
    """One layer: the streams' mixture, its parts with residuals on one stream, what that adds to all, and the layer's own vector."""
    n = x.elements // (t * width)
    read = tape.view(x, t * width)
    weights = tape.linear(_routed(tape, read, t, width, n), n * n * t, "outer")
    tape.matmul(x, weights, x.elements, "outer")
    streams = replace(tape.like(x), grad=x.grad or weights.grad)
    active = tape.view(streams, t * width)
    (_, both), (_, feed_forward), (_, closing) = block.parts
    source = normed(tape, block.norm, active, width)
    assert isinstance(both, Beside)
    out = active
    for part in both.inside:
        made = run(part, source)
        out = tape.add(out, made if isinstance(part, LearnedResidual) else normed(tape, block.norm, made, width))
    out = tape.add(out, normed(tape, block.norm, run(feed_forward, normed(tape, block.norm, out, width)), width))
    shares = tape.like(tape.linear(_routed(tape, out, t, width, n), n * t, "outer"))
    innovation = tape.mul(tape.like(out, elements=x.elements), shares)
    first = tape.like(innovation, elements=t * width, size=x.size)
    tape.keep_for_weights(first)  # what the vector of scales multiplies
    run(closing, replace(tape.like(first), grad=first.grad or not tape.adapted))


def learned_residual(tape: Tape, part: LearnedResidual, x: Tensor, t: int, width: int) -> Tensor:
    """x plus what two matrices of low rank make of it, normed."""
    down = tape.linear(x, t * part.rank, "outer", "residual_down")
    return tape.add(x, normed(tape, POWER_NORM, tape.linear(down, t * width, "outer", "residual_up"), width))


def begin_streams(tape: Tape, x: Tensor, n: int, t: int, width: int) -> None:
    """All streams but the first, made of the embedding, each as large as that."""
    size = _size(tape, x, t)
    for _ in range(n - 1):
        _as_large(tape, tape.cast(tape.linear(x, t * width, "outer"), x.size), size, t)


def end_streams(tape: Tape, x: Tensor, t: int, width: int) -> Tensor:
    """One stream of all: the others brought back by matrices, each as large as the first, and their mean."""
    size = _size(tape, tape.view(x, t * width), t)
    for _ in range(x.elements // (t * width) - 1):
        _as_large(tape, tape.cast(tape.linear(tape.view(x, t * width), t * width, "outer"), x.size), size, t)
    return tape.like(x, elements=t * width)


def _routed(tape: Tape, x: Tensor, t: int, width: int, n: int) -> Tensor:
    """n numbers of a token between -1 and 1."""
    routed = tape.linear(tape.like(normed(tape, POWER_NORM, x, width)), n * t, "outer")
    return tape.cast(tape.of_result(tape.cast(routed, 4)), x.size)


def _size(tape: Tape, x: Tensor, t: int) -> Tensor:
    """The root of the mean square of each token."""
    tape.power(x)
    return tape.power(tape.like(x, elements=t))


def _as_large(tape: Tape, x: Tensor, size: Tensor, t: int) -> None:
    tape.power(x)
    own = tape.of_result(tape.of_input(tape.like(x, elements=t)))
    tape.divided(tape.mul(x, size), own)
