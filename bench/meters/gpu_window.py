"""What the looks at one GPU over a window add up to: energy, power, clock, temperature, throttling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.meters.readings import Readings
from bench.record import Finding

SHORTEST_WINDOW_S = 1.0
"""The energy counter steps about every 100 ms: below a second it is off by more than a tenth."""

CROSSCHECK_WINDOW_S, CROSSCHECK_FRACTION = 10.0, 0.1
"""From 10 s on, a power reading that averages over 1 s distorts its integral by at most about a tenth."""

SLOWDOWNS = {0x04: "power cap", 0x08: "hardware slowdown", 0x20: "thermal (software)", 0x40: "thermal (hardware)", 0x80: "power brake"}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons that hold a busy GPU below the clocks it was set to. Source: nvml.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the device; None where it did not answer.

    Attributes:
        energy_j: the counter since the driver was loaded.
        slowdowns: bit mask of event reasons.
    """

    at_s: float
    energy_j: float | None
    power_w: float | None
    sm_clock_hz: float | None
    temperature_c: float | None
    slowdowns: int | None


def summarise(looks: Sequence[Look], power_limit_w: float | None, unanswered: Mapping[str, str]) -> Readings:
    """The figures of a window.

    Args:
        looks: in order of time, the first and last at the window's ends; two at least.
        power_limit_w: board limit enforced during the window.
        unanswered: field of a look (or power_limit_w) to the reason why the device did not answer.
    """
    window_s = looks[-1].at_s - looks[0].at_s
    power = [(look.at_s, look.power_w) for look in looks if look.power_w is not None]
    clocks = [look.sm_clock_hz for look in looks if look.sm_clock_hz is not None]
    temperatures = [look.temperature_c for look in looks if look.temperature_c is not None]
    masks = [look.slowdowns for look in looks if look.slowdowns is not None]
    energy_j, energy_reason = _counted_energy_j(looks, unanswered)
    values = {
        "window_s": window_s,
        "energy_j": energy_j,
        "mean_power_w": energy_j / window_s if energy_j is not None and window_s > 0 else None,
        "sampled_energy_j": math.fsum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(power)) if len(power) > 1 else None,
        "max_power_w": max((watt for _, watt in power), default=None),
        "power_limit_w": power_limit_w,
        "mean_sm_clock_hz": math.fsum(clocks) / len(clocks) if clocks else None,
        "min_sm_clock_hz": min(clocks, default=None),
        "max_temperature_c": max(temperatures, default=None),
        "throttled_fraction": sum(any(mask & bit for bit in SLOWDOWNS) for mask in masks) / len(masks) if masks else None,
    }
    reasons = {
        "energy_j": energy_reason,
        "mean_power_w": energy_reason or "the window has no length",
        **{name: unanswered.get(field, "too few answers") for name, field in _FIELD_OF.items()},
    }
    unavailable = {name: reasons[name] for name, value in values.items() if value is None}
    return Readings(values=values, unavailable=unavailable, findings=tuple(_findings(window_s, values, masks)))


_FIELD_OF = {
    "sampled_energy_j": "power_w",
    "max_power_w": "power_w",
    "power_limit_w": "power_limit_w",
    "mean_sm_clock_hz": "sm_clock_hz",
    "min_sm_clock_hz": "sm_clock_hz",
    "max_temperature_c": "temperature_c",
    "throttled_fraction": "slowdowns",
}

FIGURES = ("window_s", "energy_j", "mean_power_w", *_FIELD_OF)
"""Names of everything that a window can tell."""


def _counted_energy_j(looks: Sequence[Look], unanswered: Mapping[str, str]) -> tuple[float | None, str]:
    counter = [look.energy_j for look in looks if look.energy_j is not None]
    if len(counter) < len(looks):
        return None, unanswered.get("energy_j", "the counter did not answer throughout")
    if any(after < before for before, after in pairwise(counter)):
        return None, "the energy counter went backwards: the driver was reloaded or the device reset"
    if counter[-1] == counter[0]:
        return None, "the energy counter did not move: the window is too short for it"
    return counter[-1] - counter[0], ""


def _findings(window_s: float, values: Mapping[str, float | None], masks: Sequence[int]) -> list[Finding]:
    found = []
    if window_s < SHORTEST_WINDOW_S:
        text = f"the window of {window_s:.2f} s is short against the 0.1 s steps of the energy counter"
        found.append(Finding(code="ShortWindow", text=text, advice="measure energy over a second or more"))
    causes = [name for bit, name in SLOWDOWNS.items() if any(mask & bit for mask in masks)]
    if causes:
        text = f"the GPU was held below its clocks in {100 * (values['throttled_fraction'] or 0):.0f} % of the looks: {', '.join(causes)}"
        found.append(Finding(code="Throttled", text=text, advice="compare only with runs at the same clocks and power limit"))
    counted, sampled = values["energy_j"], values["sampled_energy_j"]
    if window_s >= CROSSCHECK_WINDOW_S and counted and sampled and abs(sampled / counted - 1) > CROSSCHECK_FRACTION:
        text = f"counted energy ({counted:.0f} J) and integrated power ({sampled:.0f} J) differ by more than a tenth"
        found.append(Finding(code="EnergyDisagrees", text=text, advice="trust neither before a longer window"))
    return found
