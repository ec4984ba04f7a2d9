"""Rules about time, memory and energy: what no machine can do is an error, not a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from bench.records.environment import DeviceFacts
from bench.records.record import Measurement, Phase
from bench.statistics.rates import AGAIN, all_rates, only, works
from estimators import units
from reports.checks.check import Check

CEILING_TOLERANCE = 0.10
"""A measured ceiling is the best rate seen in a few seconds; a step may beat it by so much before the ceiling counts as too low."""

ENERGY_COUNTER_STEP_S = 0.1
"""NVML's energy counter moves about so often: at either end of a window it may be late by as much."""


POWER_READING_TOLERANCE = 0.05
"""NVML's power reading is good to 5 %. Source: nvml.h, nvmlDeviceGetPowerUsage."""

NVML_MEMORY_STEP_BYTES = 2 * units.MEBI
"""NVML counts pages of the device, torch its own blocks in them."""


def bounds(record: Measurement) -> Iterator[Check]:
    """No sample beats its own physics bound, nor does an extrapolated value."""
    for phase in record.phases:
        done = works(record, phase)
        times_s = phase.samples_s if phase.context_lens else (min(phase.samples_s, default=0.0),)  # else all do the same work
        pairs = [(s, w.bound_s) for s, w in zip(times_s, done, strict=False) if w.bound_s is not None]
        if pairs:
            yield _bound(f"{phase.name}: fastest sample", *min(pairs, key=lambda pair: pair[0] / pair[1]))
    for reached in all_rates(record):
        if reached.tag == "extrapolated" and reached.work.bound_s is not None:
            yield _bound(f"{reached.phase}: extrapolated value", reached.seconds_s, reached.work.bound_s)


def _bound(what: str, seconds_s: float, bound_s: float) -> Check:
    return Check(
        metric=f"{what} against the physics bound",
        estimated=bound_s,
        observed=seconds_s,
        rule=">=",
        ok=seconds_s >= bound_s,
        explanation=f"{seconds_s / bound_s:.2f} times the bound",
        format=units.format_duration,
    )


def shares(record: Measurement) -> Iterator[Check]:
    """No MFU and no bandwidth passes the datasheet's peak; the ceilings measured here may be passed by their tolerance."""
    cache_bytes = (record.environment.device or DeviceFacts()).cache_bytes or 0
    for reached in all_rates(record):
        for name, share in (("MFU", reached.mfu), ("bandwidth over peak", reached.bandwidth_fraction)):
            if share is not None:
                yield _share(f"{reached.phase}: {name}", share)
        if reached.ceiling_fraction is not None:
            again = _again(record, "matmul", units.format_flop_rate)
            yield _share(f"{reached.phase}: share of matmul ceiling", reached.ceiling_fraction, CEILING_TOLERANCE, again=again)
        if reached.bandwidth_ceiling_fraction is not None:
            cached = reached.work.min_bytes <= cache_bytes
            yield _share(
                f"{reached.phase}: share of bandwidth ceiling",
                reached.bandwidth_ceiling_fraction,
                CEILING_TOLERANCE,
                cached=cached,
                again=_again(record, "bandwidth", units.format_byte_rate),
            )


def _again(record: Measurement, kind: str, rate: Callable[[float], str]) -> str:
    """The ceiling before the run and, where the run passed that, after it; empty where it was not measured again."""
    before, after = only(record, kind), only(record, f"{kind} {AGAIN}")
    return f"{rate(before)} before the run and {rate(after)} after it, longer" if before and after else ""


def _share(metric: str, share: float, tolerance: float = 0.0, *, cached: bool = False, again: str = "") -> Check:
    holds = share <= 1 + tolerance
    if holds:
        explanation = f"measured {again}, as the run had passed the first: the better one counts" if again else ""
    elif cached:
        explanation = "what must move fits into this machine's caches, which are faster than its memory"
    elif again:
        explanation = f"IMPOSSIBLE beside a ceiling of {again}: the work is not what was counted, or the machine was never free"
    else:
        explanation = "the ceiling was measured too low: measure again on a quiet machine" if tolerance else "no machine can do that"
    return Check(
        metric=metric,
        estimated=1.0,
        observed=share,
        rule="<=",
        tolerance=tolerance,
        ok=holds or (None if cached else False),
        explanation=explanation,
        format=units.format_fraction,
    )


def extrapolation(record: Measurement) -> Iterator[Check]:
    """More layers take more time: a line that falls with depth is noise, and its value at full depth means nothing."""
    line = record.extrapolation
    if not line:
        return
    phases: list[Phase | None] = [record.phase(f"{line.phase}@{depth}") for depth in (line.shallow_layers, line.deep_layers)]
    yield Check(
        metric="slices timed",
        estimated=2,
        observed=sum(phase is not None and bool(phase.samples_s) for phase in phases),
        rule="==",
        ok=all(phase is not None and phase.samples_s for phase in phases),
    )
    yield Check(
        metric="time added by a layer",
        estimated=0.0,
        observed=line.per_layer_s,
        rule=">",
        ok=line.per_layer_s > 0,
        explanation="" if line.per_layer_s > 0 else "the deeper slice was not slower: measure again on a quiet machine",
        format=units.format_duration,
    )


def memory(record: Measurement) -> Iterator[Check]:
    """What was held is at least what the weights need, and what torch handed out is at most what it had reserved."""
    allocated, reserved = record.memory_bytes.get("torch_allocated"), record.memory_bytes.get("torch_reserved")
    if allocated is not None and reserved is not None:
        yield Check(
            metric="torch_allocated within torch_reserved",
            estimated=reserved,
            observed=allocated,
            rule="<=",
            ok=allocated <= reserved,
            format=units.format_bytes,
        )
    chain = [
        (name, held) for name in ("torch_reserved", "nvml_process", "nvml_device") if (held := record.memory_bytes.get(name)) is not None
    ]
    for (inner, less), (outer, more) in pairwise(chain):
        yield Check(
            metric=f"{inner} within {outer}",
            estimated=more,
            observed=less,
            rule="<=",
            ok=less <= more + NVML_MEMORY_STEP_BYTES,
            explanation="" if less <= more + NVML_MEMORY_STEP_BYTES else "the instruments read different devices, or one of them is wrong",
            format=units.format_bytes,
        )
    parts = record.estimate.memory_bytes
    instrument = "peak_rss" if allocated is None else "torch_allocated"
    held = record.memory_bytes.get(instrument)
    if "weights" in parts and held is not None and not record.extrapolation:
        yield Check(
            metric=f"{instrument} against the estimated weights",
            estimated=parts["weights"],
            observed=held,
            rule=">=",
            ok=held >= parts["weights"],
            explanation=f"estimated in total {units.format_bytes(sum(parts.values()))}",
            format=units.format_bytes,
        )


def power(record: Measurement) -> Iterator[Check]:
    """A board cannot have used more energy than its limit allows in the time, neither by its counter nor by its power readings."""
    limit_w, window_s = (record.power.get(name) for name in ("power_limit_w", "window_s"))
    if limit_w is None or window_s is None:
        return
    for name, metric, tolerance in (
        ("energy_j", "energy against power limit x time", 0.0),
        ("sampled_energy_j", "integrated power against power limit x time", POWER_READING_TOLERANCE),
    ):
        energy_j, most_j = record.power.get(name), limit_w * (window_s + 2 * ENERGY_COUNTER_STEP_S)
        if energy_j is not None:
            yield Check(
                metric=metric,
                estimated=most_j,
                observed=energy_j,
                rule="<=",
                tolerance=tolerance,
                ok=energy_j <= most_j * (1 + tolerance),
                explanation=f"limit {limit_w:.0f} W, window {units.format_duration(window_s)}, counter steps of {ENERGY_COUNTER_STEP_S} s",
                format=units.format_energy,
            )
