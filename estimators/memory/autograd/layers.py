"""A layer as transformers writes it: parts, the norms around them, residuals; and what it keeps of one sequence."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.block import Beside, Block, Norm
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.latent_attention import LatentAttention
from estimators.architectures.part import Part
from estimators.memory.autograd.attention import attended
from estimators.memory.autograd.experts import routed
from estimators.memory.autograd.feed_forward import fed_forward
from estimators.memory.autograd.latent_attention import latently_attended
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor
from estimators.memory.kernels import Kernels
from estimators.memory.saved import SavedActivations
from estimators.spec import Workload


def layer_kept(block: Block, width: int, t: int, kernels: Kernels, size: int, stream_size: int) -> SavedActivations:
    """What one layer of a block keeps of a sequence of `t` tokens, its input counted where it is kept.

    Args:
        size, stream_size: bytes per element of what is computed with, and of what layers hand on.
    """
    tape = Tape(kernels, size)
    x = tape.tensor(t * width, stream_size, "outer")
    if block.parallel:
        _parallel(tape, block, x, t, width)
    elif block.prenorm:
        _sequential(tape, block, x, t, width)
    else:
        _norms_behind(tape, block, x, t, width)
    return tape.kept()


def end_kept(norm: Norm | None, width: int, t: int, kernels: Kernels, size: int, stream_size: int) -> SavedActivations:
    """What the final norm and the input of the head keep."""
    tape = Tape(kernels, size)
    x = tape.tensor(t * width, stream_size, "outer")
    tape.linear(normed(tape, norm, x, width) if norm else x, 0, "outer")
    return tape.kept()


def _sequential(tape: Tape, block: Block, x: Tensor, t: int, width: int) -> None:
    """Norm, part, a second norm where there are two for each part, residual."""
    behind = block.norms > len(block.parts)
    for _, part in block.parts:
        out = _run(tape, part, normed(tape, block.norm, x, width), t, width)
        if behind:
            out = normed(tape, block.norm, out, width)
        x = tape.add(x, out)


def _norms_behind(tape: Tape, block: Block, x: Tensor, t: int, width: int) -> None:
    """Part, norm, residual; or residual, norm."""
    for _, part in block.parts:
        out = _run(tape, part, x, t, width)
        if not block.norm_of_sum:
            out = normed(tape, block.norm, out, width)
        x = tape.add(x, out)
        if block.norm_of_sum:
            x = normed(tape, block.norm, x, width)


def _parallel(tape: Tape, block: Block, x: Tensor, t: int, width: int) -> None:
    """All parts read the layer's input, behind one norm or one each."""
    shared = normed(tape, block.norm, x, width)
    for i, (_, part) in enumerate(block.parts):
        _run(tape, part, shared if block.norms == 1 or i == 0 else normed(tape, block.norm, x, width), t, width)


def _run(tape: Tape, part: Part, x: Tensor, t: int, width: int) -> Tensor:
    if tape.kernels.dropout_bytes:
        tape.index(t * width, "outer", size=tape.kernels.dropout_bytes)
    if isinstance(part, Attention):
        return attended(tape, part, x, t, width)
    if isinstance(part, FeedForward):
        return fed_forward(tape, part, x, t, width)
    if isinstance(part, Experts):
        return routed(tape, part, x, t, width)
    if isinstance(part, LatentAttention):
        return latently_attended(tape, part, x, t, width)
    if isinstance(part, Beside):
        return [_run(tape, each, x, t, width) for _, each in part.parts][-1]
    return _counted(tape, part, x, t, width)


def _counted(tape: Tape, part: Part, x: Tensor, t: int, width: int) -> Tensor:
    """A part that is not written down here: operands of its operations, each by itself."""
    tape.keep(
        tape.tensor(sum(op.saved_bytes for op in part.ops(Workload(phase="train", seq_len=t), width, "part", 1)) // 2, tape.size, "inner")
    )
    return tape.tensor(t * width, tape.size, "outer")
