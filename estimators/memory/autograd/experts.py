"""Experts as transformers runs them: tokens sorted by expert, grouped products, which autocast leaves in the weights' dtype."""

from __future__ import annotations

from estimators.architectures.adapter_names import DOWN, FUSED, GATE_UP, ROUTER, SHARED_GATE, UP, carried_over
from estimators.architectures.block import Norm
from estimators.architectures.feed_forward import Experts
from estimators.frozen import replace
from estimators.memory.autograd.activation_functions import activated
from estimators.memory.autograd.feed_forward import fed_forward
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import INDEX_BYTES, Tape, Tensor


def routed(tape: Tape, part: Experts, x: Tensor, t: int, width: int) -> Tensor:
    """The output of a router, the experts that it chooses and those that serve every token.

    Of the router the probabilities in fp32 are kept, the choice, and the chosen weights; what masks and renormalises them differs by
    family and is left out: less than 1 % of a layer of any published size.
    """
    if part.router_layer:
        tape.linear(x, 0, "outer", ROUTER)  # a layer of its own, with an adapter beside it as any other
    else:
        wide = part.wide_router or (part.widens_router and not tape.multiplies_low)
        tape.keep_for_weights(tape.cast(x, 4) if wide else tape.low(x), role=ROUTER)
    if part.renormalises:
        tape.keep(tape.tensor(t * (part.per_token + 1), 4, "outer"))
    tape.keep(tape.tensor(t * (part.num + part.identities), 4, "outer"), tape.tensor(t * part.per_token, INDEX_BYTES, "outer", grad=False))
    out = _all_experts(tape, part, x, t, width) if part.runs_all else _chosen_experts(tape, part, x, t, width)
    if part.shared:
        shared = fed_forward(tape, part.shared, x, t, width)
        out = tape.add(out, tape.mul(shared, tape.of_result(tape.linear(x, t, "outer", SHARED_GATE))) if part.shared_gate else shared)
    return out


def routed_apart(tape: Tape, part: Experts, norm: Norm, x: Tensor, stream: Tensor, t: int, width: int) -> Tensor:
    """The same where the router and its experts read the `stream` through norms of their own, and shared ones read `x`."""
    assert part.shared
    dense = normed(tape, norm, fed_forward(tape, part.shared, x, t, width), width)
    scaled = normed(tape, replace(norm, gain=False), stream, width)
    tape.keep_for_weights(scaled)  # for the gradient of the vector that scales it
    scores = tape.linear(tape.like(scaled, size=max(scaled.size, tape.weight_size)), t * part.num, "outer", ROUTER)
    tape.softmax(tape.cast(scores, 4))
    tape.keep(*(tape.tensor(t * part.per_token, size, "outer") for size in (4, 4, INDEX_BYTES)), tape.tensor(t, 4, "outer"))
    out = _chosen_experts(tape, part, normed(tape, norm, stream, width), t, width)
    return tape.add(dense, normed(tape, norm, out, width))


def _chosen_experts(tape: Tape, part: Experts, x: Tensor, t: int, width: int) -> Tensor:
    """Rows gathered by expert, two grouped products, weighted, put back in order; each order is kept."""
    rows, edge = t * part.per_token, part.latent or width
    if part.latent:
        tape.linear(x, t * edge, "outer", "linear")
    gathered = tape.tensor(rows * edge, tape.weight_size, "routed")
    tape.index(3 * rows, "routed")
    first, columns = (GATE_UP, 2 * part.width) if part.gated else (UP, part.width)
    tape.keep_for_weights(gathered, role=first)
    halves = FUSED if carried_over(dict(part.adapter_names)) else 1
    tape.expert_adapters(first, gathered, rows, part.num, (edge, columns), halves)
    if part.bias:
        tape.index(rows, "routed")
    product = _gated(tape, part, tape.tensor(rows * columns, tape.weight_size, "routed"), rows * part.width)
    tape.keep_for_weights(product, role=DOWN)
    tape.expert_adapters(DOWN, product, rows, part.num, (part.width, edge), 1)
    out = tape.tensor(rows * edge, tape.weight_size, "routed")
    weights = tape.tensor(rows, 4 if part.wide_weights else tape.size, "routed")
    out = tape.like(tape.mul(out, weights), elements=t * edge, size=out.size)
    return tape.linear(out, t * width, "outer", "linear") if part.latent else out


def _gated(tape: Tape, part: Experts, both: Tensor, elements: int) -> Tensor:
    if not part.gated:
        return activated(tape, part.activation, both)
    gate, up = tape.view(both, elements), tape.view(both, elements)
    if part.clamped:
        gate, up = tape.of_input(gate), tape.of_input(up)
        return tape.mul(tape.like(up), tape.mul(gate, tape.of_result(gate)))
    if part.held_within:
        gate, up = tape.of_input(gate), tape.of_input(up)
    return tape.mul(activated(tape, part.activation, gate), up)


def _all_experts(tape: Tape, part: Experts, x: Tensor, t: int, width: int) -> Tensor:
    """Every expert on every token, which the router's score has scaled beforehand: Llama 4."""
    rows = t * part.num
    scaled = tape.mul(tape.tensor(rows * width, x.size, "routed"), tape.tensor(rows, tape.size, "routed"))
    scaled = tape.low(scaled)
    tape.keep_for_weights(scaled)
    product = _gated(tape, part, tape.tensor(2 * rows * part.width, tape.size, "routed"), rows * part.width)
    tape.keep_for_weights(product)
    return tape.tensor(t * width, tape.size, "outer")
