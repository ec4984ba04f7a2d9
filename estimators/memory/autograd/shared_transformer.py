"""A transformer that layers share, as transformers writes it: what it keeps at each use."""

from __future__ import annotations

from estimators.architectures.block import RMS_NORM
from estimators.architectures.shared_transformer import SharedTransformer
from estimators.memory.autograd.attention import attended
from estimators.memory.autograd.feed_forward import fed_forward
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor


def shared_transformer(tape: Tape, part: SharedTransformer, x: Tensor, t: int, width: int) -> Tensor:
    """The output over `t` tokens of the stream `x`, which is joined with the embedding; a sum with a matrix of low rank keeps nothing."""
    inner = part.attention.inner_width
    joined = normed(tape, RMS_NORM, tape.like(x, elements=2 * t * width), 2 * width)
    for _ in range(3 * part.adapts_attention):
        tape.linear(tape.linear(joined, t * part.rank, "outer", "own_down"), t * inner, "inner", "own_up")
    context = attended(tape, part.attention, joined, t, width)
    source = normed(tape, RMS_NORM, context, width)
    tape.linear(tape.linear(source, t * part.rank, "outer", "own_down"), 2 * t * part.feed_forward.width, "inner", "own_up")
    return tape.linear(fed_forward(tape, part.feed_forward, source, t, width), t * width, "outer", "linear")
