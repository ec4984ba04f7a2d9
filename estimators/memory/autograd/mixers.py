"""State-space mixers and the gated delta rule as transformers runs them without kernels of their own: every state, chunk by chunk."""

from __future__ import annotations

from estimators.architectures.block import RMS_NORM, Norm
from estimators.architectures.delta_rule import GatedDeltaNet, KimiDeltaAttention
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.short_convolution import ShortConvolution
from estimators.architectures.state_space import Mamba
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor

WIDE = 4
"""Bytes per element of what runs in fp32 whatever the step's dtype."""


def _kept(tape: Tape, size: int, *elements: int) -> None:
    """New tensors, of so many elements each, that backward reads."""
    for count in elements:
        tape.keep(tape.tensor(count, size, "inner"))


def _once(tape: Tape, size: int, *elements: int) -> None:
    """The same of what does not depend on the sequence."""
    for count in elements:
        tape.keep(tape.tensor(count, size, "once"))


def _convolved(tape: Tape, t: int, channels: int, taps: int) -> None:
    """The input of the convolution, made contiguous, and its output with the padding that is cut off behind the SiLU."""
    _kept(tape, tape.size, t * channels, (t + taps - 1) * channels)


def mamba(tape: Tape, part: Mamba, x: Tensor, t: int, width: int) -> Tensor:
    """Mamba over `t` tokens that read `x`: a loop over tokens, which keeps each state in fp32 and in the dtype of the step."""
    e, n, size = part.inner, part.state, tape.size
    states = t * e * n
    projected = tape.linear(x, 2 * t * e, "inner", "in")
    _once(tape, WIDE, e * n, e * n)  # the decay, and what it is the exponential of
    _convolved(tape, t, e, part.taps)
    _kept(tape, size, t * e, t * e)  # the convolution's result, and its copy for the projection to step sizes
    low = tape.tensor(t * (part.rank + 2 * n), size, "inner")
    if part.normed:
        for elements in (part.rank, n, n):
            normed(tape, Norm(gain=part.normed == "rms", written=part.normed), tape.view(low, t * elements), elements)
        _kept(tape, size, t * part.rank, t * n)
    else:
        tape.keep(low)
    _kept(tape, size, t * e, t * e)  # step sizes before the softplus and behind it
    _kept(tape, WIDE, states, t * n, t * e, states)  # decay and input of every state, and what the input is made of
    _kept(tape, WIDE, states - e * n)
    _kept(tape, size, e * n, states)
    tape.keep(projected)  # its half is the gate
    _kept(tape, size, t * e)
    scanned = tape.tensor(t * e, WIDE, "inner")
    tape.keep(scanned)
    return tape.linear(scanned, t * width, "outer", "out")


def mamba2(tape: Tape, part: Mamba2, x: Tensor, t: int, width: int) -> Tensor:
    """Mamba 2 over `t` tokens that read `x`: five products over whole chunks, every head with its own copy of the groups' vectors."""
    heads, e, n, c, size = part.heads, part.inner, part.state, part.chunk, tape.size
    chunks = -(-t // c)
    padded, mixed = chunks * c, e + 2 * part.groups * n
    tape.linear(x, 0, "inner", "in")
    _once(tape, WIDE, heads, heads)
    _convolved(tape, t, mixed, part.taps)
    if part.scaled:  # the projection goes on in fp32, and its half, the gate, keeps all of it
        _kept(tape, WIDE, *[t * heads] * 3, padded * e, t * mixed, t * (e + mixed + heads))
    else:
        _kept(tape, size, t * heads, t * heads)
        _kept(tape, WIDE, padded * e, t * heads, t * e, t * heads, t * e)
    _once(tape, 1, c * c, c * c, (chunks + 1) ** 2, (chunks + 1) ** 2)
    _kept(tape, WIDE, padded * heads * c)  # decays between the tokens of a chunk
    _kept(tape, size, *[padded * heads * n] * 2, padded * heads * c)  # scores
    _kept(tape, size, padded * heads * c, padded * e)  # what they weight
    _kept(tape, WIDE, padded * heads, padded * heads * n)
    _kept(tape, size, padded * heads * n, padded * e)  # states of chunks
    _kept(tape, WIDE, heads * (chunks + 1) ** 2)
    _kept(tape, size, (chunks + 1) * e * n, heads * (chunks + 1) ** 2)  # carried from chunk to chunk
    _kept(tape, WIDE, padded * heads)
    _kept(tape, size, padded * heads * n, chunks * e * n, padded * e)  # read by the chunks behind
    _kept(tape, WIDE, t * e)
    scanned = tape.tensor(padded * e, WIDE, "inner")
    tape.keep(scanned)
    result = tape.tensor(t * e, WIDE, "inner")
    if part.normed:
        result = normed(tape, RMS_NORM, result, e // part.groups)
    return tape.linear(result, t * width, "outer", "out")


def gated_delta(tape: Tape, part: GatedDeltaNet, x: Tensor, t: int, width: int) -> Tensor:
    """The gated delta rule over `t` tokens that read `x`: a triangular system in each chunk, then a loop over chunks."""
    heads, kw, vw, c, size = part.value_heads, part.key_width, part.value_width, part.chunk, tape.size
    chunks = -(-t // c)
    padded, keys, values = chunks * c * heads, chunks * c * heads * kw, chunks * c * heads * vw
    for role in ("in", "in_gate", "in_strength", "in_decay") if part.split else ("in", "in_gates"):
        tape.linear(x, 0, "inner", role)
    _convolved(tape, t, 2 * part.key_heads * kw + heads * vw, part.taps)
    _kept(tape, size, t * heads)
    _once(tape, WIDE, heads, heads)
    _kept(tape, WIDE, *[t * heads] * 2, *[t * heads * kw] * 2, *[t * heads] * 2)  # decay; queries and keys at length 1
    _kept(tape, WIDE, padded, values, keys, padded * c)
    _once(tape, 1, c * c)
    _kept(tape, size, *[keys] * 4, *[padded * c] * 2)  # keys against keys, queries against keys
    _kept(tape, WIDE, padded, keys, padded * c, values, keys)  # the system and its two solutions
    _kept(tape, WIDE, padded, keys, padded, chunks * heads)
    state = heads * kw * vw
    _kept(tape, size, *[chunks * state] * 2, padded * c, *[values] * 2, keys, (chunks - 1) * c * heads * kw * 2)
    _kept(tape, WIDE, chunks * state)
    scanned = normed(tape, RMS_NORM, tape.tensor(t * heads * vw, size, "inner"), vw)
    _kept(tape, WIDE, *[t * heads * vw] * 3)
    return tape.linear(tape.like(scanned, size=WIDE), t * width, "outer", "out")


def kimi_delta(tape: Tape, part: KimiDeltaAttention, x: Tensor, t: int, width: int) -> Tensor:
    """Kimi's delta rule over `t` tokens that read `x`: a decay for each pair of tokens of a chunk and each element of a key, written out.

    A chunk's triangular system is inverted row by row, and each row keeps what it reads of those before it.
    """
    heads, h, c, size = part.heads, part.head_width, part.chunk, tape.size
    inner, chunks, state = part.heads * part.head_width, -(-t // part.chunk), part.heads * part.head_width**2
    padded, elements = chunks * c * heads, chunks * c * inner
    for role in ("query", "key", "value"):
        tape.linear(x, t * inner, "inner", role)
    _convolved(tape, t, 3 * inner, part.taps)
    tape.linear(tape.linear(x, t * h, "inner", "decay_down"), t * inner, "inner", "decay_up")
    _once(tape, WIDE, heads, heads)
    _kept(tape, 1, t * inner)  # where the softplus is a line
    _kept(tape, WIDE, *[t * inner] * 3)
    tape.linear(x, 0, "inner", "in_strength")
    _kept(tape, size, t * heads)
    _kept(tape, WIDE, *[t * inner, t * heads] * 2)  # queries and keys at length 1
    _kept(tape, WIDE, padded, *[elements] * 3)  # values, keys and keys times their strengths
    _once(tape, 1, *[c * c] * 3)
    _kept(tape, WIDE, *[elements * c] * 3)  # decays, keys against keys, queries against keys
    _kept(tape, WIDE, chunks * heads * sum(i + i * i for i in range(1, c)))
    _kept(tape, size, *[padded * c, elements] * 2)  # the inverse, and what it multiplies
    _kept(tape, WIDE, *[elements] * 4)  # exponentials of decays: of keys, of queries and to the chunk's end; queries
    _kept(tape, WIDE, chunks * inner, (chunks - 1) * state)
    _kept(tape, size, (2 * chunks - 1) * state, (chunks - 1) * c * inner)
    _kept(tape, size, padded * c, elements, elements)  # scores, what is written, keys that write it
    if chunks > 1:  # what recalls: the first chunk finds a state of zeros, which needs no gradient
        _kept(tape, size, elements)
    tape.linear(tape.linear(x, t * h, "inner", "out_gate_down"), t * inner, "inner", "out_gate_up")
    _kept(tape, WIDE, *[t * inner] * 4, t * heads)  # the norm and its gate
    return tape.linear(tape.tensor(t * inner, size, "inner"), t * width, "outer", "output")


def convolved(tape: Tape, part: ShortConvolution, x: Tensor, t: int, width: int) -> Tensor:
    """A gated convolution over `t` tokens that read `x`: its matrix's three parts, the filter's input and its result."""
    tape.keep(tape.linear(x, 3 * t * width, "inner", "in"))
    _convolved(tape, t, width, part.taps)
    return tape.linear(tape.tensor(t * width, tape.size, "inner"), t * width, "outer", "out")
