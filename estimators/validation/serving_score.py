"""Measured figures of serving beside what is predicted of them by constants that had not seen them."""

from __future__ import annotations

import functools
import math

from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.serving.constants import constants_file, practice
from estimators.serving.figures import figures
from estimators.serving.first_token import first_token
from estimators.serving.interval import interval
from estimators.serving.step import step_law
from estimators.validation.score import STRICT
from estimators.validation.serving_case import ServingCase
from estimators.validation.serving_rows import ServingRow, serving_row
from estimators.validation.table import SERVING_KV, LeftOutError, Record, read_table, shipped_serving
from estimators.validation.tokens_of_cache import printed_cache


@frozen
class ScoredFigure:
    """One figure of a row.

    Attributes:
        quantity: such as tpot_s; empty where the row has none.
        case: None where the row is left out.
        predicted, low, high: by constants that had not seen the row's source, or its deployment where the source is InferenceX; by all
            constants where the row does not ship.
        elsewhere, blind: predicted by constants that had not seen the source's rows of the same machine, and the source at all; None
            where the row does not ship.
        skipped: why nothing is predicted; empty where something is.
    """

    id: str
    quantity: str = ""
    case: ServingCase | None = None
    measured: float | None = None
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    elsewhere: float | None = None
    blind: float | None = None
    skipped: str = ""

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1."""
        return self.predicted / self.measured - 1 if self.predicted and self.measured else None

    @property
    def elsewhere_error(self) -> float | None:
        """The same by constants that had not seen the machine in the source."""
        return self.elsewhere / self.measured - 1 if self.elsewhere and self.measured else None

    @property
    def blind_error(self) -> float | None:
        """The same by constants that had not seen the source."""
        return self.blind / self.measured - 1 if self.blind and self.measured else None

    @property
    def held(self) -> bool:
        """Whether the interval holds what was measured."""
        return bool(self.measured and self.low and self.high and self.low <= self.measured <= self.high)

    @property
    def log_ratio(self) -> float | None:
        """Logarithm of measured over predicted, blind where the row ships."""
        predicted = self.blind or self.predicted
        return math.log(self.measured / predicted) if predicted and self.measured else None


@functools.cache
def _shipped_ids() -> frozenset[str]:
    return frozenset(record.id for path in shipped_serving()[:2] for record in read_table(path))


def scored_serving(record: Record, *, strict: bool = False) -> tuple[ScoredFigure, ...]:
    """Every figure of a row; one entry at least.

    Args:
        strict: whether a row that a rule completed is left out.
    """
    if record.kind == SERVING_KV:
        return (_scored_cache(record),)
    row = serving_row(record)
    if row.case is not None and strict and row.case.assumed:
        return (ScoredFigure(id=row.id, skipped=f"{STRICT}: {'; '.join(row.case.assumed)}"),)
    return scored_row(row)


def scored_row(row: ServingRow) -> tuple[ScoredFigure, ...]:
    """The figures of a row that was read."""
    case = row.case
    if case is None:
        return (ScoredFigure(id=row.id, skipped=row.skipped),)
    known = constants_file()["without"]
    seen = row.id in _shipped_ids()
    fold, machine, source = (name if seen and name in known else "" for name in (case.fold, case.machine, case.source))
    try:
        predicted = predicted_of(case, fold)
        elsewhere = predicted_of(case, machine) if machine != fold else predicted
        blind = predicted_of(case, source) if source != fold else predicted
    except (LeftOutError, RequestError) as reason:
        return (ScoredFigure(id=row.id, skipped=str(reason)),)
    return tuple(_figure(row, case, name, predicted, *((elsewhere, blind) if seen else ({}, {}))) for name in case.measured)


def predicted_of(case: ServingCase, without: str) -> dict[str, float]:
    """Quantity -> what constants say of it that had not seen `without`; with the benchmark's own practice where they had seen that."""
    law = step_law(case.deployment, without=without, random_tokens=case.random_tokens)
    first = first_token(case.deployment.engine, case.benchmark, without)
    factor = practice(case.source, without)
    found = figures(case.deployment, case.asked, law, first, with_energy="energy_j_per_token" in case.measured)
    return {name: float(value) * (1.0 if name == "energy_j_per_token" else factor) for name, value in found.items()}


def _figure(
    row: ServingRow, case: ServingCase, name: str, predicted: dict[str, float], elsewhere: dict[str, float], blind: dict[str, float]
) -> ScoredFigure:
    if name in row.refused:
        return ScoredFigure(id=row.id, quantity=name, case=case, skipped=row.refused[name])
    around, value = interval(case.deployment, name), predicted[name]
    return ScoredFigure(
        id=row.id,
        quantity=name,
        case=case,
        measured=case.measured[name],
        predicted=value,
        low=value * around.low,
        high=value * around.high,
        elsewhere=elsewhere.get(name),
        blind=blind.get(name),
    )


def _scored_cache(record: Record) -> ScoredFigure:
    try:
        printed = printed_cache(record)
    except LeftOutError as reason:
        return ScoredFigure(id=record.id, quantity="kv_tokens", skipped=str(reason))
    return ScoredFigure(
        id=record.id,
        quantity="kv_tokens",
        measured=printed.printed_tokens,
        predicted=printed.tokens,
        low=printed.low_tokens,
        high=printed.high_tokens,
    )
