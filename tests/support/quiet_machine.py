"""The checks that a run failed by what it did, not by how busy the machine was: tests run beside others."""

from __future__ import annotations

from bench.records.record import Measurement
from reports.checks.check import Check
from reports.checks.conditions import stability
from reports.checks.crosscheck import crosscheck, failed


def failed_by_itself(record: Measurement) -> tuple[Check, ...]:
    """Failed checks of `record`, without those on the scatter of its samples (tests/reports/checks holds those)."""
    of_the_machine = {check.metric for check in stability(record)}
    return tuple(check for check in failed(crosscheck(record)) if check.metric not in of_the_machine)
