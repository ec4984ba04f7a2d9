"""Amounts of training compute from which a law has something to say: rows with date, source and confidence. No legal advice."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Source

COLUMNS = ("id", "flop", "of_original_fraction", "role", "applies_to", "meaning", "date", "source", "url", "confidence", "note")
ROLES = ("provider", "modifier")
CONFIDENCES = ("high", "medium", "low")


@frozen
class ComputeThreshold:
    """One threshold; of a reading where the law's text is read in several ways.

    Attributes:
        flop: FLOP, an amount and no rate; None where it is a share of another model's.
        of_original_fraction: share of the training compute of the model that was modified; None where it is an amount.
        role: whom it concerns: provider of a model, or modifier of another's.
        applies_to: to whom or what, in words.
        date: of the text, YYYY-MM-DD.
        confidence: high, medium or low: how sure it is that this is what the law says.
    """

    id: str
    flop: float | None
    of_original_fraction: float | None
    role: str
    applies_to: str
    meaning: str
    date: str
    confidence: str
    source: Source

    def amount_flop(self, original_flop: float | None) -> float | None:
        """The threshold in FLOP; None of a share where the original's training compute is not known."""
        if self.flop is not None:
            return self.flop
        return None if original_flop is None or self.of_original_fraction is None else self.of_original_fraction * original_flop


@functools.cache
def compute_thresholds() -> Mapping[str, ComputeThreshold]:
    """The thresholds by id.

    >>> compute_thresholds()["systemic-risk"].flop
    1e+25
    """
    return {row.text("id"): _threshold(row) for row in data.read_rows(data.file("compute_thresholds.csv"), COLUMNS)}


def _threshold(row: data.Row) -> ComputeThreshold:
    flop, share = row.optional_number("flop"), row.optional_number("of_original_fraction")
    if (flop is None) == (share is None):
        raise row.fail("flop", "an amount here, or a share of the original's in of_original_fraction, and not both")
    return ComputeThreshold(
        id=row.text("id"),
        flop=flop,
        of_original_fraction=share,
        role=row.text("role", choices=ROLES),
        applies_to=row.text("applies_to"),
        meaning=row.text("meaning"),
        date=row.text("date"),
        confidence=row.text("confidence", choices=CONFIDENCES),
        source=Source(title=row.text("source"), url=row.optional_text("url"), note=row.optional_text("note")),
    )
