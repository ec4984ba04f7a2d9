"""One contract for every kind of measured row: a quantity, its unit in the name, predicted with its interval and measured; or why not."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from estimators.errors import RequestError
from estimators.facts.goodput import run_factor
from estimators.frozen import frozen
from estimators.training.interval import COVERAGE
from estimators.validation.loss_kernels import ROUNDED, ScoredKernel
from estimators.validation.memory_score import memory_score
from estimators.validation.rollouts import ScoredRollout
from estimators.validation.run_case import measured_run
from estimators.validation.score import STRICT, Scored, quantile, scored
from estimators.validation.table import LeftOutError, Record, read_table, shipped
from estimators.validation.tuning_memory import ScoredMemory
from estimators.validation.tuning_time import ScoredStep

RUN_QUANTITY = "run_device_s"


@frozen
class Compared:
    """One quantity of one row.

    Attributes:
        quantity: such as step_time_s or memory_bytes.
        low, high: of an 80 % interval; None where no measured row says how wide it is.
        measured: None where the row is skipped.
        skipped: why nothing is predicted; empty where something is.
        assumed: what a rule put where the row leaves cells out.
        verdict: of `fit`; empty for what is no fine-tuning on a known device.
    """

    id: str
    quantity: str
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    measured: float | None = None
    skipped: str = ""
    assumed: str = ""
    verdict: str = ""


def compared_run(record: Record, *, strict: bool = False) -> Compared:
    """What a whole run is compared in: its device time, by the factor that published runs took over their steady steps.

    A run that ships has no part in its own factor.

    Args:
        strict: whether a run is left out that rules completed: its layout never stands in the row, so that all are.
    """
    if strict and not record.broken:
        return Compared(id=record.id, quantity=RUN_QUANTITY, skipped=f"{STRICT}: layout, by plan")
    try:
        measured = measured_run(record)
    except LeftOutError as reason:
        return Compared(id=record.id, quantity=RUN_QUANTITY, skipped=str(reason))
    factor, steady_s = run_factor(measured.id), measured.predicted_device_s
    return Compared(
        id=record.id,
        quantity=RUN_QUANTITY,
        predicted=steady_s * factor.median,
        low=steady_s * factor.low,
        high=steady_s * factor.high,
        measured=measured.device_s,
        assumed="; ".join(measured.assumed),
    )


OUT_OF_MEMORY = "it ran out of memory: its verdict is what is compared"


def compared_memory(row: ScoredMemory) -> Compared:
    """What a fine-tuning's memory is compared in: the row's own meter; and its verdict. What ran out of memory has no measured bytes."""
    case = row.case
    return Compared(
        id=row.id,
        quantity="memory_bytes",
        predicted=row.predicted_bytes,
        low=row.low_bytes,
        high=row.high_bytes,
        measured=case.measured_bytes if case and not case.is_oom else None,
        skipped=row.skipped or (OUT_OF_MEMORY if case and case.is_oom else ""),
        assumed="; ".join(case.assumed) if case else "",
        verdict=row.answer.verdict if row.answer else "",
    )


def compared_tuning(row: ScoredStep) -> Compared:
    """What a fine-tuning's step is compared in: the time of one optimizer step."""
    return Compared(
        id=row.id,
        quantity="step_time_s",
        predicted=row.predicted_s,
        low=row.low_s,
        high=row.high_s,
        measured=row.step.measured_s if row.step else None,
        skipped=row.skipped,
        assumed="; ".join(row.step.assumed) if row.step else "",
    )


def compared_kernel(row: ScoredKernel) -> Compared:
    """What a loss kernel is compared in: bytes of its peak above that of the smallest shape of its kind."""
    said = row.predicted_bytes
    return Compared(
        id=row.id,
        quantity="memory_bytes",
        predicted=said,
        low=said * (1 - ROUNDED) if said else None,
        high=said * (1 + ROUNDED) if said else None,
        measured=row.measured_bytes,
        skipped=row.skipped,
    )


def compared_rollout(row: ScoredRollout) -> Compared:
    """What a step of reinforcement learning is compared in: its time, of which the least is said."""
    return Compared(
        id=row.id,
        quantity="step_time_s",
        predicted=row.predicted_s,
        low=row.predicted_s,
        high=row.high_s,
        measured=row.measured_s,
        skipped=row.skipped,
        assumed="; ".join(row.assumed),
    )


def compared(row: Scored) -> tuple[Compared, ...]:
    """What a row of a step is compared in: the step time, and memory where it was measured. One entry at least."""
    step, memory = row.step, _memory(row)
    time = Compared(
        id=row.id,
        quantity="step_time_s",
        predicted=row.predicted_s,
        low=row.low_s,
        high=row.high_s,
        measured=row.measured_s,
        skipped=row.skipped_reason,
    )
    if memory and step and not step.measured_step_time_s:
        return memory
    return (time, *memory)


def _memory(row: Scored) -> tuple[Compared, ...]:
    if row.step is None or not row.step.measured_memory_bytes:
        return ()
    try:
        score = memory_score([row.step])
    except RequestError as error:
        return (Compared(id=row.id, quantity="memory_bytes", skipped=str(error)),)
    assert score is not None
    predicted = score.rows[0].predicted_bytes
    factors = memory_interval() if row.step.stack.id.startswith("megatron-core") else None
    return (
        Compared(
            id=row.id,
            quantity="memory_bytes",
            predicted=predicted,
            low=predicted * factors[0] if factors else None,
            high=predicted * factors[1] if factors else None,
            measured=row.step.measured_memory_bytes,
        ),
    )


@functools.cache
def memory_interval() -> tuple[float, float]:
    """Factors on predicted memory that held 80 % of the measured peaks of Megatron-Core, to which nothing of it is fitted."""
    rows = [scored(record) for record in read_table(shipped()["memory"])]
    score = memory_score([row.step for row in rows if row.step])
    assert score is not None
    return _factors([1 / (1 + row.error) for row in score.rows])


def _factors(measured_over_predicted: Sequence[float]) -> tuple[float, float]:
    even = [1.0] * len(measured_over_predicted)
    low, high = (quantile(measured_over_predicted, even, share) for share in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return min(low, 1.0), max(high, 1.0)
