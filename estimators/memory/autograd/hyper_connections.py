"""Several streams in place of a residual, as transformers writes them: what reading and mixing them keeps."""

from __future__ import annotations

from estimators.architectures.hyper_connections import HyperConnections
from estimators.frozen import replace
from estimators.memory.autograd.tape import Tape, Tensor

WIDE = 4
"""Bytes per element of all weights that streams make, which are fp32."""


def read_streams(tape: Tape, part: HyperConnections, x: Tensor, t: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a part reads of the streams `x`, and the weights by which its output and the streams are added up."""
    n = part.streams
    weights = _weights(tape, x, t, t * part.weights)
    grad = weights.grad

    def made(elements: int) -> Tensor:
        return tape.tensor(elements, WIDE, "outer", grad=grad)

    of_inputs, of_output = tape.of_result(made(t * n)), tape.of_result(made(t * n))
    mixture = tape.softmax(made(t * n * n))
    for _ in range(2 * part.iterations - 1):
        mixture = tape.divided(tape.like(mixture), made(t * n))
    collapsed = tape.like(tape.mul(x, tape.like(of_inputs)), elements=t * width, size=x.size)
    return collapsed, tape.like(of_output), mixture


def mixed(tape: Tape, x: Tensor, out: Tensor, written: Tensor, mixture: Tensor) -> Tensor:
    """The streams behind a part: its output to each, and a mixture of those before."""
    added = tape.mul(written, out)
    product = tape.matmul(mixture, x, x.elements, "outer")
    return replace(tape.like(x, size=max(written.size, out.size, product.size)), grad=added.grad or product.grad)


def collapse_streams(tape: Tape, part: HyperConnections, x: Tensor, t: int, width: int) -> Tensor:
    """One stream of all, behind the last layer."""
    shares = tape.of_result(tape.like(_weights(tape, x, t, t * part.streams), size=WIDE))
    return tape.like(tape.mul(x, tape.like(shares)), elements=t * width, size=x.size)


def _weights(tape: Tape, x: Tensor, t: int, elements: int) -> Tensor:
    """A matrix reads all streams of a token, normed; what it makes is scaled by learned numbers."""
    scaled = tape.mul(x, tape.root_of_mean(tape.cast(x, WIDE), t))
    weights = tape.linear(tape.cast(scaled, WIDE), elements, "outer")
    tape.keep_for_weights(weights)
    return replace(weights, grad=x.grad or not tape.adapted)
