"""Rules about the conditions: that the figure is stable, that the device was this run's alone, that nothing held it down."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.environment import DeviceFacts
from bench.records.record import Measurement
from bench.statistics import robust
from bench.statistics.rates import main_phase
from bench.statistics.step_sizes import steps_of_unlike_size
from estimators import units
from reports.checks.check import Check

SPREAD_FRACTION = 0.5
"""Of a record without a preset: more scatter than half the median is not a figure."""

LEAST_SAMPLES = 6
"""Fewer do not tell a spread: not even their extremes enclose the median with 95 %."""

OTHERS_FRACTION = 0.25
"""Of the processors, taken by other programs."""

NOT_STRICT = "not judged by this preset; run with --preset rigorous to make it fail"


def is_strict(record: Measurement) -> bool:
    """Whether the preset fails a run for what else is only said."""
    return record.request.preset_values is not None and record.request.preset_values.strict


def _found(record: Measurement, code: str) -> str:
    return next((finding.text for finding in record.warnings if finding.code == code), "")


def _others_fraction(record: Measurement) -> float | None:
    """Of the processors, what other programs took; None where a CPU is not the device, or nobody looked."""
    on_cpu = (record.environment.device or DeviceFacts()).kind == "cpu"
    return record.power.get("other_processors_fraction") if on_cpu else None


def stability(record: Measurement) -> Iterator[Check]:
    """The main phase's samples scatter by no more than the preset allows; a strict one demands a warm-up that settled.

    Of steps that differ in size, those of the most common one are judged.
    Samples that scatter while other programs had the processors tell of those programs: only a strict preset fails for them.
    """
    phase = main_phase(record)
    if phase is None or len(phase.samples_s) < LEAST_SAMPLES or robust.median(phase.samples_s) <= 0:
        return
    asked = record.request.preset_values
    allowed = asked.spread_fraction if asked else SPREAD_FRACTION
    unlike = steps_of_unlike_size(record, phase)
    alike_s = phase.samples_s if unlike is None else unlike.seconds_s[unlike.is_usual].tolist()
    if len(alike_s) < LEAST_SAMPLES:
        return
    spread = robust.relative_spread(alike_s) or 0.0
    excused = not is_strict(record) and (_others_fraction(record) or 0.0) > OTHERS_FRACTION
    advice = "the median says little: measure again on a quiet machine, or take more samples"
    yield Check(
        metric=f"{phase.name}: spread of the samples",
        estimated=allowed,
        observed=spread,
        rule="<=",
        ok=spread <= allowed or (None if excused else False),
        explanation="" if spread <= allowed else f"{advice}; {NOT_STRICT}" if excused else advice,
        format=units.format_fraction,
    )
    if phase.settled is False:
        strict = is_strict(record)
        yield Check(
            metric=f"{phase.name}: warm-up settled",
            estimated="yes",
            observed="no",
            rule="==",
            ok=False if strict else None,
            explanation="it reached its cap first" if strict else NOT_STRICT,
        )


def alone(record: Measurement) -> Iterator[Check]:
    """No other process computed on the GPU; where a CPU is the device, other programs left it most of the processors."""
    shared = _found(record, "DeviceShared")
    if shared or record.power.get("window_s") is not None:
        yield Check(
            metric="the GPU was this run's alone",
            estimated="yes",
            observed="no" if shared else "yes",
            rule="==",
            ok=not shared,
            explanation=shared and f"{shared}: the figures are of both",
        )
    others_fraction = _others_fraction(record)
    if others_fraction is not None:
        quiet = others_fraction <= OTHERS_FRACTION
        yield Check(
            metric="processors taken by other programs",
            estimated=OTHERS_FRACTION,
            observed=others_fraction,
            rule="<=",
            ok=quiet or (False if is_strict(record) else None),
            explanation="" if quiet else "the figures are of a busy machine" if is_strict(record) else NOT_STRICT,
            format=units.format_fraction,
        )


def clocks_verdict(record: Measurement) -> str | None:
    """clean or throttled, by the samples and by the device's counters; None where neither answered."""
    said = [record.power.get(name) for name in ("throttled_fraction", "power_capped_s", "thermal_capped_s")]
    known = [value for value in said if value is not None]
    return None if not known else "throttled" if any(known) else "clean"


def clocks(record: Measurement) -> Iterator[Check]:
    """Nothing held the GPU below its clocks. A power cap is usual at full load, so only a strict preset fails for it."""
    verdict = clocks_verdict(record)
    if verdict is None:
        return
    clean = verdict == "clean"
    yield Check(
        metric="clocks over the window",
        estimated="clean",
        observed=verdict,
        rule="==",
        ok=clean or (False if is_strict(record) else None),
        explanation="" if clean else _found(record, "Throttled") + ("" if is_strict(record) else f"; {NOT_STRICT}"),
    )
