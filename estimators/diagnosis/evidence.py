"""What a verdict is made of, and what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from estimators.diagnosis.arithmetic import Check
from estimators.diagnosis.causes import Explained, Slip
from estimators.diagnosis.compared import Comparison
from estimators.diagnosis.counts import Counts
from estimators.diagnosis.decoding import DecodeExpected
from estimators.diagnosis.expected import Expected
from estimators.diagnosis.observed import TIMES, Figure
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.frozen import frozen
from estimators.units import format_fraction, format_ratio

Verdict = Literal["NORMAL", "SLOW", "FAST BUT POSSIBLE", "IMPOSSIBLE", "MISCOUNTED", "UNKNOWN"]


@frozen
class Suspected:
    """A cause with what speaks for it.

    Attributes:
        id: of causes.csv.
        evidence: in words.
        factor: reported over true; None where the cause has no factor of its own.
        saves_fraction: of the run's time, what it was measured to take.
    """

    id: str
    evidence: str = ""
    factor: float | None = None
    saves_fraction: float | None = None


@frozen
class Judged:
    """A verdict.

    Attributes:
        suspects: the likeliest first.
        reason: in a sentence, the figures that it rests on.
        corrected: what the main figure would read without the first suspect's slip, in its own unit; None where it stands.
        ties: whether the first two explain the figure alike.
        wrong: another figure than the main one that is printed and wrong; None where none is known to be.
    """

    verdict: Verdict
    suspects: tuple[Suspected, ...] = ()
    reason: str = ""
    corrected: float | None = None
    ties: bool = False
    wrong: Figure | None = None


@frozen
class Evidence:
    """All that a verdict is made of.

    Attributes:
        rate: items per second and device that the figures make; None where they make none.
        decoded: tokens per second of all requests of a server, by the main figure; None where it makes no such rate.
        share: of the dense peak that the main figure says, where no count of FLOP is needed for it.
    """

    question: DiagnosisQuestion
    counts: Counts | None
    checks: tuple[Check, ...]
    rate: float | None
    share: float | None
    least: float | None
    expected: Expected | None
    decode: DecodeExpected | None
    decoded: float | None
    comparison: Comparison | None


def corrected_by(figure: Figure, slip: Slip) -> float | None:
    """The figure without a slip; None for one of no factor."""
    if slip.factor is None:
        return None
    return figure.value * slip.factor if figure.quantity in TIMES else figure.value / slip.factor


def suspected(found: Sequence[Explained]) -> tuple[Suspected, ...]:
    """Slips as causes with their evidence."""
    return tuple(Suspected(id=each.slip.id, evidence=_evidence(each), factor=each.slip.factor) for each in found)


def _evidence(each: Explained) -> str:
    if each.slip.factor is None:
        return each.slip.how
    return f"{each.slip.how}: a factor of {format_ratio(each.slip.factor)}; without it {format_fraction(abs(each.off), 2)} off"
