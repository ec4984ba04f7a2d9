"""Steps of reinforcement learning: measured over the sum of their phases, as printed or as predicted at least."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from estimators.units import format_fraction, format_int
from estimators.validation.rollouts import AT_LEAST, BY_PHASES, ScoredRollout
from reports.table import Column, Table, Value


def rollouts_table(rows: Sequence[ScoredRollout]) -> Table:
    """By what a step is held against."""
    groups = {basis: [row for row in rows if row.basis == basis] for basis in (BY_PHASES, AT_LEAST)}
    lines = [_line(basis, found) for basis, found in groups.items() if found]
    longest = max((row.ratio or 1.0 for row in groups[BY_PHASES]), default=None)
    said = f": {format_fraction(1 - 1 / longest)} of one lies outside its phases at most" if longest else ""
    reasons = Counter(row.skipped for row in rows if row.skipped)
    return Table(
        title=f"Colocated steps of reinforcement learning{said}, over {format_int(sum(map(len, groups.values())))} rows",
        conditions=["devices that generate and train by turns; generation is said at least, as no engine can beat"],
        columns=[
            Column(key="group", header="measured over"),
            Column(key="source", header="of"),
            Column(key="rows", header="rows", format=format_int, align="right"),
            *(
                Column(key=key, header=header, format=lambda ratio: f"{ratio:.2f} x", align="right")
                for key, header in (("least", "least"), ("middle", "middle"), ("most", "most"))
            ),
        ],
        rows=lines,
        notes=[f"{format_int(number)} x {reason}" for reason, number in reasons.most_common()],
        facts={"fit_rollouts": {"rows": sum(map(len, groups.values()))}},
        key="fit_rollouts",
    )


def _line(basis: str, rows: Sequence[ScoredRollout]) -> dict[str, Value]:
    ratios = sorted(row.ratio for row in rows if row.ratio)
    return {
        "group": basis,
        "source": ", ".join(dict.fromkeys(row.framework.partition(",")[0] for row in rows)),
        "rows": len(ratios),
        "least": ratios[0],
        "middle": ratios[len(ratios) // 2],
        "most": ratios[-1],
    }
