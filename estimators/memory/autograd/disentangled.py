"""DeBERTa's attention as transformers writes it: three products of scores, two of them gathered by distance."""

from __future__ import annotations

from estimators.architectures.disentangled import DisentangledAttention
from estimators.memory.autograd.tape import Tape, Tensor


def disentangled(tape: Tape, part: DisentangledAttention, x: Tensor, t: int, width: int) -> Tensor:
    """Its output over `t` tokens that read `x`. The projected table of distances is repeated for every sequence."""
    heads, inner, distances = part.attention.heads, part.attention.inner_width, part.rows(t)
    queries, keys, values = (tape.linear(x, t * inner, "inner") for _ in range(3))
    tape.matmul(queries, tape.like(keys), heads * t * t, "scores")
    tape.keep(tape.tensor(1 + part.content_to_position + part.position_to_content, tape.size, "once"))  # what they are divided by
    for used, operand in ((part.content_to_position, queries), (part.position_to_content, keys)):
        if used:
            if part.sliced:  # views of one matrix's output, which each product copies
                operand = tape.like(operand)
            table = (
                tape.given(distances * width, tape.weight_size) if part.sliced else tape.tensor(distances * width, tape.weight_size, "once")
            )
            tape.linear(table, 0, "once")
            scores = tape.matmul(
                operand, tape.tensor(heads * distances * part.attention.head_width, tape.size, "inner"), heads * t * distances, "scores"
            )
            tape.keep(scores)
            tape.index(t * t, "once")
    tape.index(t * t, "scores", size=1)
    probabilities = tape.softmax(tape.tensor(heads * t * t, tape.size, "scores"))
    context = tape.matmul(probabilities, values, t * inner, "inner")
    return tape.linear(tape.like(context), t * width, "outer")
