"""Why measured rows have no prediction, and how many: none is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from estimators.units import format_int
from reports.table import Column, Table


def left_out_table(reasons: Iterable[str], what: str, *, key: str) -> Table:
    """Reasons by how many rows have them.

    Args:
        reasons: of each row; empty of those that were not left out.
        what: what is said of their number, such as "rows are not predicted".
        key: of the table.
    """
    counted = Counter(reason for reason in reasons if reason)
    return Table(
        title=f"{format_int(counted.total())} {what}",
        columns=[Column(key="reason", header="because"), Column(key="rows", header="rows", format=format_int, align="right")],
        rows=[{"reason": reason, "rows": number} for reason, number in counted.most_common()],
        key=key,
    )
