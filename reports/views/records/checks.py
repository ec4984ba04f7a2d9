"""The cross-check as a table: what was expected, by which rule, what was observed, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from reports.checks.check import Check
from reports.table import Column, Table, Value

VERDICTS = {True: "ok", False: "FAILED", None: "not judged"}


def check_table(checks: Sequence[Check]) -> Table:
    """Every check, failed ones not hidden among the others: the title counts them."""
    rows: list[dict[str, Value]] = [
        {
            "metric": check.metric,
            "estimated": side_text(check, check.estimated),
            "estimated_value": check.estimated,
            "rule": check.rule + (f" (+{100 * check.tolerance:.0f} %)" if check.tolerance else ""),
            "observed": side_text(check, check.observed),
            "observed_value": check.observed,
            "verdict": VERDICTS[check.ok],
            "explanation": check.explanation,
        }
        for check in checks
    ]
    held, bad, unjudged = (sum(check.ok is verdict for check in checks) for verdict in (True, False, None))
    return Table(
        key="checks",
        title=f"Cross-check: {held} hold, {bad} failed" + (f", {unjudged} could not be judged" if unjudged else ""),
        columns=(
            Column(key="metric", header="Metric"),
            Column(key="estimated", header="Expected", align="right"),
            Column(key="estimated_value", header="Expected, raw", raw=True),
            Column(key="rule", header="Rule"),
            Column(key="observed", header="Observed", align="right"),
            Column(key="observed_value", header="Observed, raw", raw=True),
            Column(key="verdict", header="Verdict"),
            Column(key="explanation", header="Explanation"),
        ),
        rows=rows,
        facts={"checks_held": held, "checks_failed": bad, "checks_not_judged": unjudged},
    )


def side_text(check: Check, value: float | int | str | None) -> str | None:
    """What was expected or observed, as people read it."""
    return value if value is None or isinstance(value, str) else check.format(value)
