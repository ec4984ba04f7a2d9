"""Memory of fine-tunings against what each row's own meter read, and verdicts against what ran and what ran out of memory."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.tuning.fit import Fit, fit, metered_bytes
from estimators.tuning.memory import memory_of_job
from estimators.validation.score import STRICT, Score, quantile, score_of
from estimators.validation.table import LeftOutError, Record
from estimators.validation.tuning_case import TuningCase, tuning_case, without_recipe
from estimators.validation.tuning_time import SOURCES


@frozen
class ScoredMemory:
    """One row: the case, and what is predicted of its meter.

    Attributes:
        case: None where the row is left out.
        predicted_bytes, low_bytes, high_bytes: of the row's meter, and its 80 % interval.
        unnamed_bytes: predicted where nobody had named the framework.
        answer: of `fit`; None without a device.
        skipped: why nothing is predicted; empty where something is.
    """

    id: str
    case: TuningCase | None = None
    predicted_bytes: float | None = None
    low_bytes: float | None = None
    high_bytes: float | None = None
    unnamed_bytes: float | None = None
    answer: Fit | None = None
    skipped: str = ""

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1; None where nothing was measured, or it ran out of memory."""
        if self.case is None or self.case.is_oom or not (self.case.measured_bytes and self.predicted_bytes):
            return None
        return self.predicted_bytes / self.case.measured_bytes - 1

    @property
    def unnamed_error(self) -> float | None:
        """The same where nobody had named the framework."""
        if self.error is None or self.case is None or not (self.unnamed_bytes and self.case.measured_bytes):
            return None
        return self.unnamed_bytes / self.case.measured_bytes - 1

    @property
    def counts(self) -> bool:
        """Whether it is in the score of allocated memory: that meter, and the longest sample known."""
        return self.error is not None and self.case is not None and self.case.meter == "allocated" and not self.is_guess

    @property
    def is_guess(self) -> bool:
        """Whether the longest sample is the row's cut-off for want of better."""
        return self.case is not None and any("longest" in words for words in self.case.assumed)

    @property
    def held(self) -> bool:
        """Whether the interval holds what was measured."""
        measured = self.case.measured_bytes if self.case else None
        return bool(measured and self.low_bytes and self.high_bytes and self.low_bytes <= measured <= self.high_bytes)

    @property
    def is_judged(self) -> bool:
        """Whether its verdict can be right or wrong: the device is known, and the longest sample."""
        return self.answer is not None and not self.is_guess

    @property
    def is_right(self) -> bool:
        """Whether the verdict is: NO or TIGHT of what ran out of memory, FITS or TIGHT of what ran."""
        assert self.answer is not None
        assert self.case is not None
        return self.answer.verdict != ("FITS" if self.case.is_oom else "NO")


def scored_memory(record: Record, *, strict: bool = False) -> ScoredMemory:
    """A row's memory and verdict, or why nothing is predicted.

    Args:
        strict: whether a row that a rule completed is left out.
    """
    try:
        case = tuning_case(record)
    except LeftOutError as reason:
        return ScoredMemory(id=record.id, skipped=str(reason))
    if strict and case.assumed:
        return ScoredMemory(id=record.id, skipped=f"{STRICT}: {'; '.join(case.assumed)}")
    if not case.measured_bytes and not case.is_oom:
        return ScoredMemory(id=record.id, skipped="no memory in the row")
    if case.meter == "capacity":
        return ScoredMemory(id=record.id, skipped="the row states what fits, not what was read")
    if case.job.recipe.framework == "litgpt" and case.job.num_gpus > 1:
        return ScoredMemory(id=record.id, skipped="litgpt on several devices peaks while each loads the whole model")
    try:
        memory = memory_of_job(case.job, case.device.memory_bytes if case.device else 0.0)
        unnamed = memory_of_job(without_recipe(case).job)
        answer = fit(case.job, case.device) if case.device else None
    except RequestError as error:
        return ScoredMemory(id=record.id, case=case, skipped=str(error))
    low, predicted, high = metered_bytes(case.job, memory.allocated_bytes, case.meter)
    return ScoredMemory(
        id=record.id,
        case=case,
        predicted_bytes=predicted,
        low_bytes=low,
        high_bytes=high,
        unnamed_bytes=metered_bytes(case.job, unnamed.allocated_bytes, case.meter)[1],
        answer=answer,
    )


def source_of(row: ScoredMemory) -> str:
    """Which author measured a row."""
    assert row.case is not None
    return next((source for begin, source in SOURCES.items() if row.case.source.startswith(begin)), row.case.source)


def interval_factors(rows: Sequence[ScoredMemory], *, several: bool, without: str = "") -> tuple[float, float] | None:
    """Factors on predicted allocated memory that held 80 % of the rows, every source weighing the same; None without rows.

    Args:
        several: of jobs on several devices, or on one.
        without: a source that has no part in it.
    """
    chosen = [row for row in rows if row.counts and row.case and (row.case.job.num_gpus > 1) == several and source_of(row) != without]
    if not chosen:
        return None
    sources = [source_of(row) for row in chosen]
    weights = [1 / sources.count(source) for source in sources]
    ratios = [1 / (1 + (row.error or 0.0)) for row in chosen]
    return quantile(ratios, weights, 0.1), quantile(ratios, weights, 0.9)


@frozen
class MemoryScore:
    """Errors of several rows.

    Attributes:
        named: as each row names its framework; the interval is the one that `fit` prints, whose ends are from these very rows.
        blind_coverage: share of the rows that lie between ends from other sources alone; None where no other source has such rows.
        unnamed_median: median absolute error where nobody had named the framework.
    """

    named: Score
    blind_coverage: float | None
    unnamed_median: float | None


def score_memory(rows: Sequence[ScoredMemory], among: Sequence[ScoredMemory]) -> MemoryScore:
    """The score of rows that have an error.

    Args:
        among: all rows, of which those of other sources say where the ends of a blind interval are.
    """
    errors = [row.error for row in rows if row.error is not None]
    unnamed = [abs(row.unnamed_error) for row in rows if row.unnamed_error is not None]
    return MemoryScore(
        named=score_of(errors, [row.held for row in rows]),
        blind_coverage=_blind_coverage(rows, among),
        unnamed_median=quantile(unnamed, [1.0] * len(unnamed), 0.5) if unnamed else None,
    )


def _blind_coverage(rows: Sequence[ScoredMemory], among: Sequence[ScoredMemory]) -> float | None:
    known: dict[tuple[bool, str], tuple[float, float] | None] = {}
    held: list[bool] = []
    for row in rows:
        if not row.counts or row.case is None or row.error is None:
            continue
        key = (row.case.job.num_gpus > 1, source_of(row))
        if key not in known:
            known[key] = interval_factors(among, several=key[0], without=key[1])
        ends = known[key]
        if ends is not None:
            held.append(ends[0] <= 1 / (1 + row.error) <= ends[1])
    return sum(held) / len(held) if held else None
