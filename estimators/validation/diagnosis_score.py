"""Diagnoses of labelled cases: whether verdict, cause and value are right. A label is looked at after the answer is made."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.diagnosis.answer import Diagnosis, diagnose
from estimators.diagnosis.question import question_of
from estimators.diagnosis.value import value_of
from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.validation.diagnosis_rows import not_known, observed_of
from estimators.validation.table import LeftOutError, Record

FIRST = 2
"""Causes among which the right one must be."""

SLIGHTLY = 1e-9
"""Of a value whose tolerance is 0: what printing it in ten digits moves."""


@frozen
class Diagnosed:
    """One row with its diagnosis.

    Attributes:
        diagnosis: None where the row cannot be read; `skipped_reason` says why.
        value, unit: in the row's unit, where it names one and the diagnosis has a figure in it.
        not_known: names in the row that mean nothing here.
        by_sentence: whether the verdict needs the question's sentence: from the columns alone it is another.
    """

    record: Record
    diagnosis: Diagnosis | None
    value: float | None = None
    unit: str = ""
    skipped_reason: str = ""
    not_known: tuple[str, ...] = ()
    by_sentence: bool = False

    @property
    def verdict(self) -> str:
        """As tables of cases write it; empty where there is none."""
        return self.diagnosis.verdict.replace(" ", "-") if self.diagnosis else ""

    @property
    def causes(self) -> tuple[str, ...]:
        """The likeliest first."""
        return self.diagnosis.cause_ids if self.diagnosis else ()

    @property
    def is_labelled(self) -> bool:
        """Whether the row has the right answer beside it."""
        return bool(self.record.text("right_verdict"))

    @property
    def verdict_right(self) -> bool:
        """Whether it is the label's verdict, or the second that counts as right."""
        return self.verdict in (self.record.text("right_verdict"), self.record.text("also_right")) and bool(self.verdict)

    @property
    def cause_right(self) -> bool:
        """Whether the label's cause is among the first two."""
        return self.record.text("right_cause") in self.causes[:FIRST]

    @property
    def has_value(self) -> bool:
        """Whether the label has one."""
        return bool(self.record.text("right_value"))

    @property
    def value_right(self) -> bool:
        """Whether the value is the label's within its tolerance."""
        if not self.has_value or self.value is None:
            return False
        right, tolerance = float(self.record.text("right_value")), float(self.record.text("tolerance") or 0)
        return abs(self.value - right) <= (tolerance + SLIGHTLY) * abs(right)


def diagnosed(record: Record) -> Diagnosed:
    """A row's diagnosis; one that cannot be read says why."""
    try:
        if record.broken:
            raise LeftOutError(record.broken)
        found = diagnose(question_of(observed_of(record)))
        plain = diagnose(question_of(observed_of(record, sentence=False)))
    except (LeftOutError, RequestError) as error:
        return Diagnosed(record=record, diagnosis=None, skipped_reason=str(error))
    value, unit = value_of(found, record.text("right_unit"))
    by_sentence = plain.verdict != found.verdict
    return Diagnosed(record=record, diagnosis=found, value=value, unit=unit, not_known=not_known(record), by_sentence=by_sentence)


@frozen
class DiagnosisScore:
    """Of labelled rows: shares that are right, each None where no row counts.

    Attributes:
        rows, values: labelled rows, and those with a value.
        verdict, cause, value: shares right.
        verdict_by_columns: the share whose verdict is right and needs no sentence.
        normal, normal_missed: rows that are NORMAL, and of them those called otherwise.
        unknown, unknown_named: rows that got no verdict, and of them those that say which fact is missing.
    """

    rows: int
    values: int
    verdict: float | None
    cause: float | None
    value: float | None
    verdict_by_columns: float | None
    normal: int
    normal_missed: int
    unknown: int
    unknown_named: int


def score_of(rows: Sequence[Diagnosed]) -> DiagnosisScore:
    """Every labelled row weighs the same; one that cannot be read is wrong."""
    labelled = [row for row in rows if row.is_labelled]
    valued = [row for row in labelled if row.has_value]
    normal = [row for row in labelled if row.record.text("right_verdict") == "NORMAL"]
    unknown = [row for row in rows if row.diagnosis is not None and row.verdict == "UNKNOWN"]
    return DiagnosisScore(
        rows=len(labelled),
        values=len(valued),
        verdict=_share(row.verdict_right for row in labelled),
        cause=_share(row.cause_right for row in labelled),
        value=_share(row.value_right for row in valued),
        verdict_by_columns=_share(row.verdict_right and not row.by_sentence for row in labelled),
        normal=len(normal),
        normal_missed=sum(not row.verdict_right for row in normal),
        unknown=len(unknown),
        unknown_named=sum(bool(row.diagnosis and row.diagnosis.missing) for row in unknown),
    )


def _share(right: object) -> float | None:
    found = list(right)  # type: ignore[call-overload]
    return sum(found) / len(found) if found else None
