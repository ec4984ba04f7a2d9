"""Attention to a window and to compressed entries as transformers writes it: a choice of entries keeps nothing, it has no gradient."""

from __future__ import annotations

from estimators.architectures.block import Norm
from estimators.architectures.compressed_attention import CompressedAttention
from estimators.architectures.compressor import Compressor
from estimators.frozen import replace
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor

WIDE = 4
"""Bytes per element of what runs in fp32 whatever the step's dtype."""

WIDE_NORM = Norm(written="rms_wide")


def compressed_attention(tape: Tape, part: CompressedAttention, x: Tensor, t: int, width: int) -> Tensor:
    """Its output over `t` tokens that read `x`."""
    inner = t * part.heads * part.head_width
    latent = normed(tape, WIDE_NORM, tape.linear(x, t * part.query_rank, "outer", "query_down"), part.query_rank)
    queries = _bare_norm(tape, tape.linear(latent, inner, "inner", "query_up"), t * part.heads)
    down = tape.linear(x, t * part.head_width, "outer", "kv_down")
    values = normed(tape, WIDE_NORM, down, part.head_width)
    entries = 0
    if part.compressor:
        entries = t // part.compressor.rate
        _compressed(tape, part.compressor, x, t, part.rope_width)
    _turned(tape, t * part.rope_width, times=3)
    context = _attended(tape, part, queries, values, t, t + entries)
    grouped = tape.linear(replace(context, by_head=False), t * part.groups * part.group_rank, "inner", "output_down")
    return tape.linear(tape.like(grouped), t * width, "outer", "output")


def _bare_norm(tape: Tape, x: Tensor, rows: int) -> Tensor:
    """x / sqrt(mean(x^2)), the root in fp32 and cast before it multiplies."""
    root = tape.root_of_mean(tape.cast(x, WIDE), rows)
    return tape.mul(x, tape.cast(root, x.size))


def _turned(tape: Tape, elements: int, *, times: int, size: int = 0) -> None:
    """Sines and cosines of each position, repeated for both of a pair of values, anew for each of `times` tensors; of all sequences."""
    for _ in range(2 * times):
        tape.index(elements, "once" if not size else "outer", size=size or tape.weight_size)


def _compressed(tape: Tape, part: Compressor, x: Tensor, t: int, turned: int) -> Tensor:
    """Entries of the whole windows of `t` tokens."""
    made = t // part.rate
    keys = tape.linear(x, t * part.columns, "outer", "kv_down")
    tape.linear(x, t * part.columns, "outer", "gate")
    if not made:
        return tape.tensor(0, keys.size, "outer")
    weighed = made * part.rate * part.columns
    if part.overlaps:  # both keys of a token, laid side by side
        keys = tape.tensor(weighed, keys.size, "outer")
    shares = tape.softmax(tape.tensor(weighed, WIDE, "outer"))
    summed = tape.like(tape.mul(keys, tape.cast(shares, keys.size)), elements=made * part.width)
    result = normed(tape, WIDE_NORM, summed, part.width)
    _turned(tape, made * turned, times=1, size=result.size)
    return result


def _attended(tape: Tape, part: CompressedAttention, queries: Tensor, values: Tensor, t: int, s: int) -> Tensor:
    """Written out, every head with its own copy of what it reads as keys and as values, and a softmax in fp32 beside the sinks."""
    read = values.elements // t * s * part.heads
    keys, copies = (tape.tensor(read, tape.size, "inner") for _ in range(2)) if part.heads > 1 else (tape.like(values, elements=read),) * 2
    scores = tape.matmul(queries, keys, part.heads * t * s, "scores")
    tape.index(part.heads * t, "scores")
    probabilities = tape.softmax(tape.like(scores, elements=part.heads * t * (s + 1), size=max(scores.size, tape.weight_size)))
    probabilities = tape.cast(tape.view(probabilities, part.heads * t * s), tape.size)
    return tape.matmul(probabilities, copies, queries.elements, "inner")
