"""The cross-check as a table: what was expected, by which rule, what was observed, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from reports.checks.check import Check
from reports.checks.crosscheck import crosscheck, failed
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


def checks_line(records: Sequence[Measurement]) -> str:
    """How many checks hold, how many do not, and how many could not be judged."""
    checks = [check for record in records if record.request.task != "estimate" for check in crosscheck(record)]
    held, bad, unjudged = (sum(check.ok is verdict for check in checks) for verdict in (True, False, None))
    said = f"{held:,} {'check holds' if held == 1 else 'checks hold'}" + (f", {bad} FAILED" if bad else "")
    return said + (f"; {unjudged} could not be judged" if unjudged else "")


def failed_lines(records: Sequence[Measurement]) -> list[str]:
    """Every check that does not hold: expected, observed, why."""
    lines = []
    for record in records:
        for check in failed(crosscheck(record)):
            sides = [
                value if value is None or isinstance(value, str) else check.format(value) for value in (check.estimated, check.observed)
            ]
            compared = f"expected {sides[0]} by {check.rule}, observed {sides[1]}"
            why = f"; {check.explanation}" if check.explanation else ""
            lines.append(f"FAILED {record.request.model}, {check.metric}: {compared}{why}")
    return lines
