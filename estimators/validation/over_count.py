"""What ran must fit: the memory said of measured steps over that of their devices, by source. Nothing is fitted."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.frozen import frozen
from estimators.memory.device import FRAGMENTATION, memory_of
from estimators.validation.case import MeasuredStep
from estimators.validation.score import quantile
from estimators.validation.tuned_step import tuned_job


@frozen
class OverCount:
    """Steps of one source.

    Attributes:
        rows, stated: how many, and how many of them say what was recomputed and offloaded.
        refused, refused_unsaid: that would not fit, of those that say it and of the others.
        median, most: what is needed over what a device has.
    """

    source: str
    rows: int
    stated: int
    refused: int
    refused_unsaid: int
    median: float
    most: float


def need_over_capacity(step: MeasuredStep) -> float:
    """Bytes of the fullest device, reserve included, over those of the device."""
    if (job := tuned_job(step)) is not None:
        return job.needed_bytes(step.layout) / float(step.machine.memory_bytes)
    memory = memory_of(step.model, step.seq_len, step.layout, stack_id=step.stack.id, dtype=step.dtype)
    on_host = float(memory.parts["activations"]) * (1 + FRAGMENTATION) if step.offloads_activations else 0.0
    return (float(memory.total_bytes) - on_host) / float(step.machine.memory_bytes)


def over_counts(steps: Sequence[MeasuredStep]) -> tuple[OverCount, ...]:
    """Every source, by name."""
    needs: dict[str, list[tuple[MeasuredStep, float]]] = {}
    for step in steps:
        needs.setdefault(step.source, []).append((step, need_over_capacity(step)))
    return tuple(_over_count(source, needs[source]) for source in sorted(needs))


def _over_count(source: str, needs: Sequence[tuple[MeasuredStep, float]]) -> OverCount:
    shares = [need for _, need in needs]
    return OverCount(
        source=source,
        rows=len(needs),
        stated=sum(step.says_recompute for step, _ in needs),
        refused=sum(need > 1 for step, need in needs if step.says_recompute),
        refused_unsaid=sum(need > 1 for step, need in needs if not step.says_recompute),
        median=quantile(shares, [1.0] * len(shares), 0.5),
        most=max(shares),
    )
