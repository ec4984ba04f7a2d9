"""Hold a record's measurement against its estimate: RULES is a table; each rule yields checks that can fail.

Nothing here measures or counts: every figure comes from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.record import Measurement
from reports import check_conditions, check_physics, check_selftest, check_work
from reports.check import Check

RULES: tuple[Callable[[Measurement], Iterator[Check]], ...] = (
    check_work.complete,
    check_work.counts,
    check_work.rules_of_thumb,
    check_physics.bounds,
    check_physics.shares,
    check_physics.extrapolation,
    check_work.proof,
    check_physics.memory,
    check_physics.power,
    check_work.tokens,
    check_conditions.stability,
    check_conditions.alone,
    check_conditions.clocks,
    check_selftest.selftest,
)


def crosscheck(record: Measurement) -> tuple[Check, ...]:
    """Every check that applies to a record, in the order of RULES."""
    return tuple(check for rule in RULES for check in rule(record))


def failed(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that do not hold; one that could not be judged has not failed."""
    return tuple(check for check in checks if check.ok is False)
