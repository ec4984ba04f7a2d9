"""Layers whose operations were traced: what each was seen to leave for backward."""

from __future__ import annotations

from estimators.architectures.traced import TRACED_PHASES
from estimators.architectures.traced_decoder import TracedPart
from estimators.memory.autograd.tape import Tape, Tensor
from estimators.spec import Workload


def traced(tape: Tape, part: TracedPart, x: Tensor, t: int, width: int) -> Tensor:
    """One layer in the mean of those that the part is of, over `t` tokens.

    Where weights are frozen, matrices keep nothing but what their adapters read; all else keeps what it keeps where they are trained.
    """
    step = Workload(phase="train", seq_len=t)
    rows = part.tables[TRACED_PHASES["train"]]
    layers, saved, fixed = part.kind.count, 0, 0
    for row, op in zip(rows, part.model.rows_at(step, rows), strict=True):
        kept, beside = part.model.saved_at(step, row)
        fixed += row.count * beside
        if tape.adapted is None or op.kind != "matmul" or not row.weights:
            saved += row.count * kept
        elif op.mnk:
            m, n, k = op.mnk
            given = tape.tensor(row.count * m * k // layers, x.size, "inner")
            tape.linear(given, row.count * m * n // layers, "inner", op.role)
    tape.keep(tape.tensor(saved // layers, tape.size, "inner"))
    tape.index(fixed // layers, "inner", size=1)
    return tape.tensor(t * width, tape.size, "outer")
