"""Parts of SegFormer's layers as transformers writes them: keys of a smaller map, a filter inside the feed-forward."""

from __future__ import annotations

from estimators.architectures.block import LAYER_NORM
from estimators.architectures.pyramid import MixedFeedForward, ReducedAttention
from estimators.memory.autograd.activation_functions import activated
from estimators.memory.autograd.attention import attended
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor


def reduced_attention(tape: Tape, part: ReducedAttention, x: Tensor, t: int, width: int) -> Tensor:
    """The filter reads the tokens as a map, in their own memory."""
    if part.ratio == 1:
        return attended(tape, part.attention, x, t, width)
    positions = part.reduced[0] * part.reduced[1]
    source = normed(tape, LAYER_NORM, tape.linear(x, positions * width, "outer"), width)
    return attended(tape, part.attention, x, t, width, source, positions)


def mixed_feed_forward(tape: Tape, part: MixedFeedForward, x: Tensor, t: int, width: int) -> Tensor:
    """The filter keeps what the first matrix made, the activation what the filter made."""
    up = tape.linear(x, t * part.width, "inner", "up")
    filtered = activated(tape, part.activation, tape.linear(up, t * part.width, "inner"))
    return tape.linear(filtered, t * width, "outer", "down")
