"""Rules about a self-test: what was measured of things that are known beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bench.records.asked import Asked
from bench.records.record import Measurement
from bench.statistics import robust
from bench.statistics.comparison import compare
from bench.statistics.noise_floor import ROUND_A, ROUND_B, TASK, noise_floor
from estimators import units
from estimators.errors import BadRecordError
from reports.checks import work
from reports.checks.check import Check

LEAST_TICKS = 100
"""Clock readings of an empty step in one of the kernel: fewer, and the clock alone is off by more than 1 %."""

VISIBLE_FRACTION = 0.25
"""A machine that shows only larger differences between two runs is no place to judge a change on."""

OVERSLEPT_S, DOUBLE_TOLERANCE = 0.002, 0.1
"""How late the system may wake a sleeper, and how far the double of a kernel may be from twice its time."""


def selftest(record: Measurement) -> Iterator[Check]:
    """A clock that is fine enough, a full sleep, doubled work that takes double, differences of a quarter seen, an A/A without and a
    doubling with a verdict, and a training that does not train, caught."""
    if record.request.task != TASK:
        return
    yield from _clock(record)
    yield from _sleep(record)
    yield from _double(record)
    yield from _verdicts(record)
    yield from _trainings(record)


def _clock(record: Measurement) -> Iterator[Check]:
    phase, resolution_s = record.phase(ROUND_A), record.learning.clock_resolution_s
    if phase and phase.samples_s and resolution_s is not None:
        least_s, sample_s = LEAST_TICKS * resolution_s, robust.median(phase.samples_s)
        yield Check(
            metric="clock is fine enough",
            estimated=least_s,
            observed=sample_s,
            rule=">=",
            ok=sample_s >= least_s,
            explanation=f"a sample against {LEAST_TICKS} times what the clock reads for an empty step",
            format=units.format_duration,
        )


def _sleep(record: Measurement) -> Iterator[Check]:
    phase, asked_s = record.phase("sleep"), record.request.sleep_s
    if phase and phase.samples_s and asked_s is not None:
        slept_s = robust.median(phase.samples_s)
        yield Check(
            metric="a sleep of known length",
            estimated=asked_s,
            observed=slept_s,
            rule="==",
            ok=asked_s * 0.999 <= slept_s <= asked_s + OVERSLEPT_S,
            explanation=f"no less, and at most {units.format_duration(OVERSLEPT_S)} more",
            format=lambda seconds: units.format_duration(seconds, 4),
        )


def _double(record: Measurement) -> Iterator[Check]:
    single, double = record.phase("single"), record.phase("double")
    if single and double and single.samples_s and double.samples_s and min(single.samples_s) > 0:
        ratio = robust.median([two / one for one, two in zip(single.samples_s, double.samples_s, strict=False)])
        yield Check(
            metric="twice the work takes twice the time",
            estimated=2.0,
            observed=ratio,
            rule="==",
            ok=abs(ratio / 2 - 1) <= DOUBLE_TOLERANCE,
            tolerance=DOUBLE_TOLERANCE,
            explanation="median of pairs; a clock that does not wait for the device would show 1",
            format=lambda value: f"{value:.3g}",
        )


def _verdicts(record: Measurement) -> Iterator[Check]:
    try:
        floor = noise_floor(record)
    except BadRecordError as error:
        yield Check(metric="noise floor", estimated="taken", observed="not taken", rule="==", ok=False, explanation=str(error))
        return
    sees = floor.detectable_fraction <= VISIBLE_FRACTION
    yield Check(
        metric="smallest difference that can be seen",
        estimated=VISIBLE_FRACTION,
        observed=floor.detectable_fraction,
        rule="<=",
        ok=sees,
        explanation="" if sees else "too noisy to compare here: close other programs, or use another machine",
        format=units.format_fraction,
    )
    for metric, names, expected, noise in (
        ("A against A has no winner", (ROUND_A, ROUND_B), ("SAME", "AMBIGUOUS"), floor),
        ("doubled work is found", ("single", "double"), ("SLOWER",), None),
    ):
        one, other = (_as_run(record, name) for name in names)
        verdict = compare([one], [other], main_phase={}, floor=noise).verdict
        yield Check(metric=metric, estimated=" or ".join(expected), observed=verdict, rule="==", ok=verdict in expected)


def _as_run(record: Measurement, name: str) -> Measurement:
    """One phase as a run of its own, under a name that both sides share."""
    phase = record.phase(name)
    phases = () if phase is None else (dataclasses.replace(phase, name="kernel"),)
    return dataclasses.replace(record, request=Asked(model="kernel", task="train"), phases=phases)


def _trainings(record: Measurement) -> Iterator[Check]:
    """The proof of work holds for a training and fails for a loop that changes nothing."""
    for seen, metric, caught in (
        (record.learning.training_loop, "a training that trains passes", False),
        (record.learning.idle_loop, "a training that does not train is caught", True),
    ):
        if seen is not None:
            checks = tuple(work.proof(dataclasses.replace(record, proof=seen)))
            bad = [check.metric for check in checks if check.ok is False]
            yield Check(
                metric=metric,
                estimated="failed" if caught else "ok",
                observed="failed" if bad else "ok",
                rule="==",
                ok=bool(checks) and bool(bad) is caught,
                explanation=", ".join(bad),
            )
