"""Predicted against measured: errors of every row, by source, pooled, and with every source weighing the same."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.cost.efficiency import efficiency_file
from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.training.interval import interval
from estimators.training.layouts import fine_tuning
from estimators.training.prediction import Prediction, predict
from estimators.validation.case import MeasuredStep, measured_step
from estimators.validation.table import LeftOutError, Record
from estimators.validation.tuned_step import tuned_job

STRICT = "completed by a rule, and --strict was given"


@frozen
class Scored:
    """One row: what was measured and predicted, or why it was not.

    Attributes:
        step: the case; None where there is none.
        line: of its file.
        predicted_s, low_s, high_s: with constants and interval that never saw the row's source; None where skipped.
        fitted_s: with the constants as they ship.
        skipped_reason: empty where the row is predicted.
        largest: the largest part of the predicted step.
    """

    id: str
    step: MeasuredStep | None
    line: int = 0
    predicted_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    fitted_s: float | None = None
    skipped_reason: str = ""
    largest: str = ""

    @property
    def measured_s(self) -> float | None:
        """The measured step time."""
        return self.step.measured_step_time_s if self.step else None

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1."""
        if self.predicted_s is None or not self.measured_s:
            return None
        return self.predicted_s / self.measured_s - 1

    @property
    def covered(self) -> bool:
        """Whether the interval holds the measured time."""
        return bool(self.measured_s and self.low_s and self.high_s and self.low_s <= self.measured_s <= self.high_s)

    @property
    def counts(self) -> bool:
        """Whether the row is in the headline score: pre-training, a stated layout, nothing that sets it apart."""
        return self.step is not None and self.error is not None and self.step.kind == "pre-training" and not self.step.apart


@frozen
class Score:
    """Errors of several rows.

    Attributes:
        median, p90: of the absolute relative error.
        bias: median of the signed relative error.
        coverage: share of rows that the interval held.
    """

    rows: int
    median: float
    p90: float
    bias: float
    coverage: float


def scored(record: Record, *, strict: bool = False) -> Scored:
    """One row, predicted by constants that its source had no part in; or the reason why it is not.

    Args:
        strict: whether a row that a general rule completed is left out.
    """
    try:
        step = measured_step(record)
    except LeftOutError as reason:
        return Scored(id=record.id, line=record.line, step=None, skipped_reason=str(reason))
    if strict and step.assumed:
        return Scored(id=record.id, line=record.line, step=None, skipped_reason=f"{STRICT}: {'; '.join(step.assumed)}")
    if not step.measured_step_time_s:
        return Scored(id=record.id, line=record.line, step=step, skipped_reason="no step time in the row")
    source = step.source if step.source in efficiency_file()["without"] else ""
    try:
        unseen, shipped = predict_step(step, without=source), predict_step(step)
    except RequestError as error:
        return Scored(id=record.id, line=record.line, step=step, skipped_reason=str(error))
    below, above = (unseen.low_s / unseen.step_time_s, unseen.high_s / unseen.step_time_s)
    if step.is_guessed and unseen.case_class != "unmeasured-device":
        below, above = interval("completed-row", step.hardware)
    parts = unseen.ledger.parts
    return Scored(
        id=record.id,
        line=record.line,
        step=step,
        predicted_s=unseen.step_time_s,
        low_s=unseen.step_time_s * below,
        high_s=unseen.step_time_s * above,
        fitted_s=shipped.step_time_s,
        largest=max(parts, key=lambda part: parts[part]),
    )


def predict_step(step: MeasuredStep, *, without: str = "") -> Prediction:
    """The prediction of a measured step.

    Args:
        without: a source that its constants must not have seen; those of a fine-tuning never saw the step's own.
    """
    if (job := tuned_job(step)) is not None:
        return fine_tuning.predicted(job, step.layout)
    return predict(
        step.model,
        step.seq_len,
        step.layout,
        step.hardware,
        dtype=step.dtype,
        stack_id=step.stack.id,
        cluster=step.cluster,
        network_bytes_per_s=step.network_bytes_per_s,
        without=without,
    )


def quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the weight does not pass.

    >>> quantile([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(zip(values, weights, strict=True))
    limit, sum_of_weights = share * sum(weights), 0.0
    for value, weight in ordered:
        sum_of_weights += weight
        if sum_of_weights >= limit * (1 - 1e-12):
            return value
    return ordered[-1][0]


def score(rows: Sequence[Scored], *, by_source: bool = False) -> Score | None:
    """Errors of the rows that have one; None without any.

    Args:
        by_source: whether every source weighs the same, instead of every row.
    """
    predicted = [(row, row.error) for row in rows if row.error is not None and row.step is not None]
    if not predicted:
        return None
    sources = [row.step.source for row, _ in predicted if row.step]
    weights = [1 / sources.count(source) if by_source else 1.0 for source in sources]
    return score_of([error for _, error in predicted], [row.covered for row, _ in predicted], weights)


def score_of(errors: Sequence[float], held: Sequence[bool], weights: Sequence[float] | None = None) -> Score:
    """The score of some rows.

    Args:
        errors: predicted over measured, less 1.
        held: whether the interval of each held it.
        weights: of each; all the same by default.
    """
    weights = weights or [1.0] * len(errors)
    return Score(
        rows=len(errors),
        median=quantile([abs(error) for error in errors], weights, 0.5),
        p90=quantile([abs(error) for error in errors], weights, 0.9),
        bias=quantile(errors, weights, 0.5),
        coverage=sum(weight for weight, is_held in zip(weights, held, strict=True) if is_held) / sum(weights),
    )
