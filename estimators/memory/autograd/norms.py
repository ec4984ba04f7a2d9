"""Norms as transformers writes them: what each keeps of its input."""

from __future__ import annotations

from estimators.architectures.block import Norm
from estimators.frozen import replace
from estimators.memory.autograd.tape import Tape, Tensor


def normed(tape: Tape, norm: Norm, x: Tensor, width: int) -> Tensor:
    """The result of a norm over vectors of `width` elements."""
    rows = x.elements // width
    if norm.form in ("layer", "layer_plus_one", "layer_in_fp32"):
        return _layer_norm(tape, norm, x, rows, width)
    if norm.form == "layer_written_out":
        return _written_out_layer_norm(tape, x, rows)
    return _rms_norm(tape, norm, x, rows, width)


def _layer_norm(tape: Tape, norm: Norm, x: Tensor, rows: int, width: int) -> Tensor:
    """torch's kernel: the input, and mean and reciprocal deviation of each row."""
    source = tape.cast(x, 4) if norm.form == "layer_in_fp32" else tape.wide(x)
    statistic = max(source.size, tape.weight_size)
    if x.grad or not tape.adapted:  # else neither input nor gain needs a gradient
        tape.keep(source, tape.tensor(2 * rows, statistic, x.place))
    result = tape.like(source)
    return tape.cast(result, x.size) if norm.form == "layer_in_fp32" else result


def _rms_norm(tape: Tape, norm: Norm, x: Tensor, rows: int, width: int) -> Tensor:
    """x / sqrt(mean(x^2)) in fp32, then the gain on it: in the input's dtype, or before going back to that."""
    wide = tape.cast(x, 4)
    scaled = tape.mul(wide, tape.root_of_mean(wide, rows))
    if norm.form == "rms_power":  # a power keeps what it is of, where a reciprocal root keeps its result
        tape.keep(tape.like(wide, elements=rows))
    if norm.form == "rms_bare" or not norm.gain:
        return tape.cast(scaled, x.size)
    if norm.form == "rms":
        scaled = tape.cast(scaled, x.size)
    tape.keep_for_weights(scaled)
    result = replace(tape.like(scaled, size=max(scaled.size, tape.weight_size)), grad=x.grad or not tape.adapted)
    return result if norm.form == "rms" else tape.cast(result, x.size)


def _written_out_layer_norm(tape: Tape, x: Tensor, rows: int) -> Tensor:
    """(x - mean) is made twice: once to be squared, once to be scaled."""
    wide = tape.cast(x, 4)
    root = tape.root_of_mean(tape.like(wide), rows)
    scaled = tape.mul(tape.like(wide), root)
    tape.keep_for_weights(scaled)
    return tape.cast(tape.like(scaled), x.size)
