"""Causes of a figure that is wrong and of a run that is slow, by name: what each is, and the one experiment that settles it."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.frozen import frozen

COLUMNS = ("id", "kind", "what", "check")
KINDS = ("miscount", "physics", "slow", "fine")


@frozen
class Cause:
    """One row of causes.csv.

    Attributes:
        kind: miscount (the figure is wrong), physics, slow (the run is), fine (neither).
        what: in a sentence.
        check: the one command or experiment that settles it.
    """

    id: str
    kind: str
    what: str
    check: str


@functools.cache
def causes() -> dict[str, Cause]:
    """Every cause by id, in the order of causes.csv, which is that in which equals are named."""
    rows = data.read_rows(data.file("causes.csv"), COLUMNS)
    return {
        row.text("id"): Cause(
            id=row.text("id"), kind=row.text("kind", choices=KINDS), what=row.text("what"), check=row.optional_text("check")
        )
        for row in rows
    }
