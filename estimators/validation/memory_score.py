"""Memory predicted against measured peaks: allocated bytes of the fullest rank, as the framework counts them."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.frozen import frozen
from estimators.memory.device import Memory, memory_of
from estimators.validation.case import MeasuredStep
from estimators.validation.score import quantile


@frozen
class MemoryScored:
    """One row: the step, and its predicted memory without the reserve."""

    step: MeasuredStep
    memory: Memory

    @property
    def predicted_bytes(self) -> float:
        """What the allocator should report."""
        return float(self.memory.allocated_bytes)

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        assert self.step.measured_memory_bytes
        return self.predicted_bytes / self.step.measured_memory_bytes - 1


@frozen
class MemoryScore:
    """Errors of several rows.

    Attributes:
        median, worst: of the absolute relative error.
        bias: median of the signed relative error.
        distinct: layouts among the rows; more micro-batches of one layout take the same memory.
    """

    rows: tuple[MemoryScored, ...]
    distinct: int
    median: float
    worst: float
    bias: float


def memory_score(steps: Sequence[MeasuredStep]) -> MemoryScore | None:
    """Predict the memory of every step that has a measured one; None without any. Nothing is fitted."""
    rows = tuple(
        MemoryScored(step=step, memory=memory_of(step.model, step.seq_len, step.layout, stack_id=step.stack.id, dtype=step.dtype))
        for step in steps
        if step.measured_memory_bytes
    )
    if not rows:
        return None
    even = [1.0] * len(rows)
    errors = [row.error for row in rows]
    return MemoryScore(
        rows=rows,
        distinct=len({(row.step.model, row.step.seq_len, row.step.measured_memory_bytes) for row in rows}),
        median=quantile([abs(error) for error in errors], even, 0.5),
        worst=max(abs(error) for error in errors),
        bias=quantile(errors, even, 0.5),
    )
