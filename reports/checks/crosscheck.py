"""Hold a record's measurement against its estimate: RULES is a table; each rule yields checks that can fail.

Nothing here measures or counts: every figure comes from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.records.record import Measurement
from reports.checks import conditions, physics, selftest, serving, tuning, work
from reports.checks.check import Check

RULES: tuple[Callable[[Measurement], Iterator[Check]], ...] = (
    work.complete,
    serving.gate,
    serving.requests,
    serving.cache,
    serving.predictions,
    work.counts,
    work.rules_of_thumb,
    physics.bounds,
    physics.shares,
    physics.extrapolation,
    work.proof,
    physics.memory,
    physics.power,
    tuning.memory_by_part,
    tuning.peak,
    tuning.step_time,
    work.tokens,
    conditions.stability,
    conditions.alone,
    conditions.clocks,
    selftest.selftest,
)


def crosscheck(record: Measurement) -> tuple[Check, ...]:
    """Every check that applies to a record, in the order of RULES."""
    return tuple(check for rule in RULES for check in rule(record))


def failed(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that do not hold; one that could not be judged has not failed."""
    return tuple(check for check in checks if check.ok is False)
