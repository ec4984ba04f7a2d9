"""What the samples of one GPU over a window add up to: energy, power, clock, temperature, throttling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.machine.meters import gpu_throttle
from bench.machine.meters.readings import Readings, no_readings
from bench.records.record import Finding

SHORTEST_WINDOW_S = 1.0
"""The energy counter steps about every 100 ms: below a second it is off by more than a tenth."""

CROSSCHECK_WINDOW_S, CROSSCHECK_FRACTION = 10.0, 0.1
"""From 10 s on, a power reading that averages over 1 s distorts its integral by at most about a tenth."""

GAP_FACTOR = 10
"""A pause between two samples of so many intervals, and of GAP_S at least, means that process or machine was stopped meanwhile."""

GAP_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """One sample of the device; None where it did not answer.

    Attributes:
        energy_j: the counter since the driver was loaded.
        slowdowns: bit mask of event reasons.
        power_capped_s, thermal_capped_s: counters of the time below the clocks, since the driver was loaded.
        nvml_device, nvml_process: bytes held on the whole device, and by this process.
    """

    at_s: float
    energy_j: float | None = None
    power_w: float | None = None
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    slowdowns: int | None = None
    power_capped_s: float | None = None
    thermal_capped_s: float | None = None
    nvml_device: float | None = None
    nvml_process: float | None = None


def summarise(
    samples: Sequence[GpuSample], power_limit_w: float | None, unanswered: Mapping[str, str], interval_s: float = 0.1
) -> Readings:
    """The figures of a window.

    Args:
        samples: in order of time, the first and last at the window's ends; two at least.
        power_limit_w: board limit enforced during the window.
        unanswered: field of a sample (or power_limit_w) to the reason why the device did not answer.
        interval_s: between two samples, as the sampler meant it.
    """
    window_s = samples[-1].at_s - samples[0].at_s
    if any(after.at_s < before.at_s for before, after in pairwise(samples)):
        return no_readings(FIGURES, "the clock went backwards during the window")
    power = [(sample.at_s, sample.power_w) for sample in samples if sample.power_w is not None]
    masks = [sample.slowdowns for sample in samples if sample.slowdowns is not None]
    energy_j, energy_reason = counted_energy_j(samples, unanswered)
    capped = {name: gpu_throttle.counted_s(_given(samples, name), window_s) for name in gpu_throttle.COUNTERS}
    clocks, temperatures = _given(samples, "sm_clock_hz"), _given(samples, "temperature_c")
    values = {
        "window_s": window_s,
        "energy_j": energy_j,
        "mean_power_w": energy_j / window_s if energy_j is not None and window_s > 0 else None,
        "sampled_energy_j": math.fsum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(power)) if len(power) > 1 else None,
        "max_power_w": max((watt for _, watt in power), default=None),
        "power_limit_w": power_limit_w,
        "mean_sm_clock_hz": math.fsum(clocks) / len(clocks) if clocks else None,
        "min_sm_clock_hz": min(clocks, default=None),
        "max_sm_clock_hz": max(clocks, default=None),
        "min_memory_clock_hz": min(_given(samples, "memory_clock_hz"), default=None),
        "first_temperature_c": temperatures[0] if temperatures else None,
        "max_temperature_c": max(temperatures, default=None),
        "throttled_fraction": gpu_throttle.fraction(masks),
        **{name: seconds for name, (seconds, _) in capped.items()},
    }
    reasons = {
        "energy_j": energy_reason,
        "mean_power_w": energy_reason or "the window has no length",
        **{name: unanswered.get(field, "too few answers") for name, field in _FIELD_OF.items()},
        **{name: unanswered.get(name, reason) for name, (_, reason) in capped.items()},
    }
    unavailable = {name: reasons[name] for name, value in values.items() if value is None}
    gap_s = max(after.at_s - before.at_s for before, after in pairwise(samples))
    return Readings(values=values, unavailable=unavailable, findings=tuple(_findings(window_s, values, masks, gap_s, interval_s)))


_FIELD_OF = {
    "sampled_energy_j": "power_w",
    "max_power_w": "power_w",
    "power_limit_w": "power_limit_w",
    "mean_sm_clock_hz": "sm_clock_hz",
    "min_sm_clock_hz": "sm_clock_hz",
    "max_sm_clock_hz": "sm_clock_hz",
    "min_memory_clock_hz": "memory_clock_hz",
    "first_temperature_c": "temperature_c",
    "max_temperature_c": "temperature_c",
    "throttled_fraction": "slowdowns",
}

FIGURES = ("window_s", "energy_j", "mean_power_w", *_FIELD_OF, *gpu_throttle.COUNTERS)
"""Names of everything that a window can tell."""

MEMORY = ("nvml_process", "nvml_device")
"""Names of the device's memory by NVML: what this process holds, and what all do. The peaks of the samples."""


def peak_memory(samples: Sequence[GpuSample], unanswered: Mapping[str, str]) -> Readings:
    """The most bytes that any sample found, by instrument."""
    values = {name: max(_given(samples, name), default=None) for name in MEMORY}
    return Readings(values=values, unavailable={name: unanswered.get(name, "too few answers") for name, v in values.items() if v is None})


def _given(samples: Sequence[GpuSample], field: str) -> list[float]:
    return [value for sample in samples if (value := getattr(sample, field)) is not None]


def counted_energy_j(samples: Sequence[GpuSample], unanswered: Mapping[str, str]) -> tuple[float | None, str]:
    """Joules by which the counter advanced, and ""; or None and why there are none."""
    counter = [sample.energy_j for sample in samples if sample.energy_j is not None]
    if len(counter) < len(samples):
        return None, unanswered.get("energy_j", "the counter did not answer throughout")
    if any(after < before for before, after in pairwise(counter)):
        return None, "the energy counter went backwards: the driver was reloaded or the device reset"
    if counter[-1] == counter[0]:
        return None, "the energy counter did not move: the window is too short for it"
    return counter[-1] - counter[0], ""


def short_window(window_s: float, what: str = "") -> Finding | None:
    """What to say of a window that is short against the counter's steps; None where it is long enough."""
    if window_s >= SHORTEST_WINDOW_S:
        return None
    text = f"{what}the window of {window_s:.2f} s is short against the 0.1 s steps of the energy counter"
    return Finding(code="ShortWindow", text=text, advice="measure energy over a second or more")


def _findings(window_s: float, values: Mapping[str, float | None], masks: Sequence[int], gap_s: float, interval_s: float) -> list[Finding]:
    findings = [short_window(window_s), gpu_throttle.finding(values, masks)]
    gap = gap_s > max(GAP_S, GAP_FACTOR * interval_s)
    if gap:
        text = f"nothing was read of the GPU for {gap_s:.1f} s: the process or the machine was stopped meanwhile"
        findings.append(Finding(code="SamplingGap", text=text, advice="the integral of power is a guess there; measure again undisturbed"))
    counted, sampled = values["energy_j"], values["sampled_energy_j"]
    if not gap and window_s >= CROSSCHECK_WINDOW_S and counted and sampled and abs(sampled / counted - 1) > CROSSCHECK_FRACTION:
        text = f"counted energy ({counted:.0f} J) and integrated power ({sampled:.0f} J) differ by more than a tenth"
        findings.append(Finding(code="EnergyDisagrees", text=text, advice="trust neither before a longer window"))
    return [each for each in findings if each is not None]
