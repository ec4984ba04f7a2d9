"""The words of a comparison, and which of them an interval allows: a difference must be there, and must matter."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

Verdict = Literal["SAME", "FASTER", "SLOWER", "AMBIGUOUS", "INCOMPARABLE"]


def verdict_on(ratio: float, low: float, high: float, threshold: float) -> tuple[Verdict, str]:
    """The verdict on a log ratio of times and its interval, and why it is no clearer."""
    if -threshold <= low and high <= threshold:
        return "SAME", ""
    if low > 0 and ratio > threshold:
        return "SLOWER", ""
    if high < 0 and ratio < -threshold:
        return "FASTER", ""
    if low > 0 or high < 0:
        return "AMBIGUOUS", "there is a difference, but perhaps none that matters; take more samples"
    return "AMBIGUOUS", "the interval holds both no difference and one that matters; take more samples"


def overall(verdicts: Set[Verdict], main: Set[Verdict]) -> Verdict:
    """The worst that any phase says; FASTER or SAME by the phases that answer the tasks, where those are decided.

    Args:
        verdicts: of all phases.
        main: of those that answer the tasks.

    >>> overall({"SAME", "FASTER"}, {"SAME"}), overall({"FASTER", "SLOWER"}, {"FASTER"}), overall(set(), set())
    ('SAME', 'SLOWER', 'INCOMPARABLE')
    """
    if "SLOWER" in verdicts:
        return "SLOWER"
    if not verdicts or "INCOMPARABLE" in verdicts:
        return "INCOMPARABLE"
    decisive = main or verdicts
    if "AMBIGUOUS" in decisive:
        return "AMBIGUOUS"
    return "FASTER" if "FASTER" in decisive else "SAME"
