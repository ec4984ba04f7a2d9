"""A comparison on one screen: the verdict, a row for each phase, and how many differences there are around them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.statistics.comparison import Comparison
from reports.screen import Screen, columns_kept
from reports.table import Table

FAILED = ("SLOWER", "INCOMPARABLE")


def comparison_screen(compared: Comparison, tables: Sequence[Table]) -> Screen:
    """Two sides.

    Args:
        tables: all of it, as `comparison.tables` makes them: the verdicts, and the differences where there are any.
    """
    verdicts, *others = tables
    different = [f"{len(table.rows)} differences of settings and surroundings: -v" for table in others]
    return Screen(
        answer=verdicts.title,
        lead=verdicts.conditions[: 3 + len(compared.stated)],
        table=columns_kept(verdicts, "phase", "verdict", "change", "a_text", "b_text", "case", "reason", "detectable_fraction"),
        notes=[*verdicts.notes[:3], *different],
        failed=compared.verdict in FAILED,
    )
