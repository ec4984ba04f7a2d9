"""A feed-forward as transformers writes it: its activation function, and where there is one its gate."""

from __future__ import annotations

from estimators.architectures.block import RMS_NORM
from estimators.architectures.feed_forward import FeedForward
from estimators.memory.autograd.activation_functions import activated
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor


def fed_forward(tape: Tape, part: FeedForward, x: Tensor, t: int, width: int) -> Tensor:
    """The output of a feed-forward over `t` tokens that read `x`."""
    elements = t * part.width
    if not part.gated:
        return _down(tape, part, activated(tape, part.activation, tape.linear(x, elements, "inner", "up")), t * width)
    if part.fused:
        both = tape.linear(x, 2 * elements, "inner", "gate_up")
        gate, up = tape.view(both, elements), tape.view(both, elements)
    else:
        gate, up = tape.linear(x, elements, "inner", "gate"), tape.linear(x, elements, "inner", "up")
    if part.sparse:
        gate = _let_through(tape, gate, t)
    if part.held_within:
        gate, up = tape.of_input(gate), tape.of_input(up)
    return _down(tape, part, tape.mul(activated(tape, part.activation, gate), up), t * width)


def _let_through(tape: Tape, gate: Tensor, rows: int) -> Tensor:
    """What of each row lies above its mean and some deviations: the gate, its deviation, how many of those, and what a ReLU leaves."""
    if gate.grad:
        tape.keep(gate, tape.like(gate, elements=rows), tape.tensor(1, gate.size, "once"))
    return tape.of_result(tape.like(gate))


def _down(tape: Tape, part: FeedForward, product: Tensor, elements: int) -> Tensor:
    if part.inner_norm:
        product = normed(tape, RMS_NORM, product, part.width)
    return tape.linear(tape.cast(product, tape.weight_size) if part.widened else product, elements, "outer", "down")
