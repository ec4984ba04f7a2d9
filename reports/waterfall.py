"""The residual, explained: from the physics bound to the measured step, in named parts that sum to it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.records.record import Measurement
from bench.statistics import robust
from bench.statistics.rates import all_rates, drift
from estimators.advice import Advice
from estimators.facts.causes import causes
from estimators.frozen import frozen

UNEXPLAINED = "unexplained"


@frozen
class WaterfallPart:
    """One step of the waterfall.

    Attributes:
        seconds_s: what it adds; None where it is not known, and then `reason` says why. Only `unexplained` may be negative.
        tag: measured, derived, estimated or unavailable; see estimators.spec.Tag.
        reason: how it was had, or why it was not.
        advice: what to do about it; None for the bound, which nothing is to be done about.
        profiled_s: what torch's profiler measured of the whole class, where it ran.
    """

    name: str
    seconds_s: float | None
    tag: str
    reason: str = ""
    advice: Advice | None = None
    profiled_s: float | None = None


@frozen
class Waterfall:
    """A step and its parts.

    Attributes:
        whole_s: the median step (of slices, what they say of the full depth), with the wait for its data where that was timed.
        tag: measured; extrapolated from slices; derived where the wait was added.
        parts: they sum to `whole_s`.
        suspects: of what is unexplained, as `diagnose` names and settles them, those that the record speaks for first.
    """

    phase: str
    whole_s: float
    tag: str
    parts: tuple[WaterfallPart, ...]
    suspects: tuple[Advice, ...] = ()

    @property
    def largest(self) -> WaterfallPart:
        """The part beside the bound that adds, or takes, the most."""
        return max(self.parts[1:], key=lambda part: abs(part.seconds_s or 0.0))


WHAT_TO_DO = {
    "matmul": "give products more rows (a larger --batch)",
    "attention": "use a fused kernel (--attn sdpa, without dropout), or shorter sequences",
    "memory": "fuse element-wise operators (--compile)",
    "optimizer": "spread the update over more tokens (a larger --batch), or take a fused or leaner optimizer (sgd)",
    "host": "give each operator more work (a larger --batch), or issue fewer of them (--compile)",
    "data": "prepare batches ahead, in workers of their own",
    "padding": "pack sequences, or sort them by length",
    "throttling": "raise the power limit or the cooling, or compare only runs at equal clocks",
    UNEXPLAINED: "calibrate again on a quiet machine (python -m bench calibrate), and look for other programs",
}
SUSPECTS = {
    "attention": "implementation",
    "memory": "implementation",
    "host": "host_bound_small_model",
    "data": "data_loader_suspected",
    "throttling": "throttling",
    "padding": "padding_computed",
    UNEXPLAINED: "noisy_machine",
}
"""Parts whose time is a suspect of `diagnose`: how it is settled stands with that one."""

SPOKEN_FOR = {
    "Throttled": "throttling",
    "HeldBack": "throttled_process",
    "CpuShared": "noisy_machine",
    "DeviceShared": "noisy_machine",
    "Unstable": "noisy_machine",
    "UnevenRanks": "straggler_gpu",
}
"""Finding of a record -> the suspect of `diagnose` that it is evidence of."""

MUCH_DRIFT = 0.1
"""Rates that differ by less between before and after a run are those of one machine."""

FASTER_DTYPE = ", or a dtype that the device multiplies faster (--dtype bf16)"
NAMES = {
    "matmul": "matrix products, above the bound",
    "attention": "attention",
    "memory": "memory-bound operators",
    "optimizer": "optimizer",
    "host": "launches and host",
}
_COVERED_FIRST = ("matmul", "attention", "optimizer", "memory")
"""Whose time the physics bound is part of, in this order: it holds their FLOP, or the bytes of their weights."""


def waterfall(record: Measurement) -> Waterfall | None:
    """The waterfall of a record's step; None where the step was not predicted from a calibration, or not timed.

    The bound is that of the datasheet, else of the rates measured just before, and never more than the step itself. The parts
    above it are the calibration's predictions, less what the bound holds already. What is left is unexplained.
    """
    said = record.estimate.local
    reached = next((r for r in all_rates(record) if r.phase == said.phase), None) if said else None
    if not said or reached is None:
        return None
    step_s = reached.seconds_s
    wait = _data_wait(record, step_s)
    bound_s = reached.work.bound_s if reached.work.bound_s is not None else reached.floor_s
    throttling = _throttling(record, step_s)
    predicted: Mapping[str, float] = said.parts_s.stated()
    covered = min(bound_s or 0.0, step_s, math.fsum(predicted[name] for name in _COVERED_FIRST))
    profiled = said.profiled_s or {}
    parts = [
        WaterfallPart(name="physics bound", seconds_s=covered, tag="derived", reason=_bound_reason(reached.work.bound_s, bound_s, covered))
    ]
    left = covered
    for name in (*_COVERED_FIRST, "host"):
        held = min(left, predicted[name]) if name in _COVERED_FIRST else 0.0
        left -= held
        parts.append(
            WaterfallPart(
                name=NAMES[name],
                seconds_s=predicted[name] - held,
                tag="estimated",
                reason="from the calibration" + (", less the bound's share" if held else ""),
                advice=_advice(name, FASTER_DTYPE if name == "matmul" and record.request.dtype == "fp32" else ""),
                profiled_s=profiled.get(name),
            )
        )
    padding = WaterfallPart(
        name="padding", seconds_s=0.0, tag="derived", reason="a run makes its rows of one length", advice=_advice("padding")
    )
    parts += [wait, padding, throttling]
    whole_s = step_s + (wait.seconds_s or 0.0)
    rest = whole_s - math.fsum(part.seconds_s or 0.0 for part in parts)
    suspects = _suspects(record)
    parts.append(WaterfallPart(name=UNEXPLAINED, seconds_s=rest, tag="derived", reason="what is left", advice=suspects[0]))
    tag = "derived" if wait.seconds_s else reached.tag
    return Waterfall(phase=reached.phase, whole_s=whole_s, tag=tag, parts=tuple(parts), suspects=suspects)


def _suspects(record: Measurement) -> tuple[Advice, ...]:
    """What may take time that no part explains: what a finding of the record, or its rates after the run, speak for; else the machine."""
    told: dict[str, list[str]] = {}
    for finding in record.warnings:
        if finding.code in SPOKEN_FOR:
            told.setdefault(SPOKEN_FOR[finding.code], []).append(finding.text)
    slower = [f"its {name} rate {100 * change:+.1f} %" for name, change in drift(record).items() if change < -MUCH_DRIFT]
    if slower:
        told.setdefault(SUSPECTS[UNEXPLAINED], []).append(f"after the run, against before it: {', '.join(slower)}")
    if not told:
        return (_advice(UNEXPLAINED),)
    machine = SUSPECTS[UNEXPLAINED]
    return tuple(
        Advice(
            id=name,
            what=WHAT_TO_DO[UNEXPLAINED] if name == machine else causes()[name].what,
            evidence="; ".join(texts),
            check=causes()[name].check,
        )
        for name, texts in told.items()
    )


def _advice(name: str, more: str = "") -> Advice:
    """What to do about a part; where it is a suspect of `diagnose`, by its name and with what settles it."""
    suspect = SUSPECTS.get(name)
    check = causes()[suspect].check if suspect else ""
    return Advice(id=suspect or name, what=WHAT_TO_DO[name] + more, check=check)


def _bound_reason(datasheet_s: float | None, bound_s: float | None, covered_s: float) -> str:
    if bound_s is None:
        return "neither a datasheet nor a measured ceiling"
    source = "datasheet" if datasheet_s is not None else "at the rates measured just before"
    return source if covered_s == bound_s else f"{source}, cut to what its operators take"


def _data_wait(record: Measurement, step_s: float) -> WaterfallPart:
    """Seconds per step that an epoch takes beyond its steps."""
    epoch, step = record.phase("epoch"), record.phase("train_step")
    name, advice = "data wait", _advice("data")
    if epoch is None and record.proof.num_samples is None:
        return WaterfallPart(name=name, seconds_s=0.0, tag="derived", reason="one input, on the device beforehand", advice=advice)
    if epoch is None or step is None or not (epoch.samples_s and epoch.items_per_sample and step.items_per_sample):
        return WaterfallPart(name=name, seconds_s=None, tag="unavailable", reason="no epoch was completed", advice=advice)
    per_epoch = epoch.items_per_sample / step.items_per_sample
    wait_s = max(0.0, robust.median(epoch.samples_s) / per_epoch - step_s)
    return WaterfallPart(name=name, seconds_s=wait_s, tag="derived", reason="an epoch's time beyond its steps", advice=advice)


def _throttling(record: Measurement, step_s: float) -> WaterfallPart:
    """Seconds that a lower clock cost: the share of samples that found it held down, times how far the mean is below the highest."""
    held, mean, most = (record.power.get(name) for name in ("throttled_fraction", "mean_sm_clock_hz", "max_sm_clock_hz"))
    advice = _advice("throttling")
    if held is None:
        reason = record.unavailable.get("throttled_fraction") or record.unavailable.get("slowdowns") or "no clock was read on this device"
        return WaterfallPart(name="throttling", seconds_s=None, tag="unavailable", reason=reason, advice=advice)
    if held == 0:
        return WaterfallPart(name="throttling", seconds_s=0.0, tag="measured", reason="the clock was never held down", advice=advice)
    if not mean or not most:
        reason = f"held down in {100 * held:.0f} % of the samples; by how much is not known"
        return WaterfallPart(name="throttling", seconds_s=None, tag="unavailable", reason=reason, advice=advice)
    return WaterfallPart(
        name="throttling", seconds_s=step_s * (1 - mean / most), tag="derived", reason="mean clock under the highest", advice=advice
    )
