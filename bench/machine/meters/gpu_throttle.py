"""How far a GPU was held below its clocks over a window: from the reasons it gave at each sample, and from its own counters.

A sample every 100 ms misses short slowdowns; the driver's counters add up all of them. Both are read, and each has its own figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from bench.records.record import Finding

SLOWDOWNS = {0x04: "power cap", 0x08: "hardware slowdown", 0x20: "thermal (software)", 0x40: "thermal (hardware)", 0x80: "power brake"}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons that hold a busy GPU below the clocks it was set to. Source: nvml.h."""

COUNTERS = {"power_capped_s": "power cap", "thermal_capped_s": "thermal"}
"""Figures from nvmlDeviceGetViolationStatus: time below the clocks since the driver was loaded, by cause."""

COUNTER_STEP_S = 0.1
"""The counters move about so often: at either end of a window they may be late by as much."""


def fraction(masks: Sequence[int]) -> float | None:
    """Share of the samples at which one of SLOWDOWNS held; None without samples.

    >>> fraction([0x1, 0x4, 0x44, 0x0])
    0.5
    """
    return sum(any(mask & bit for bit in SLOWDOWNS) for mask in masks) / len(masks) if masks else None


def counted_s(counter_s: Sequence[float], window_s: float) -> tuple[float | None, str]:
    """Seconds by which a counter advanced, and ""; or None and why it cannot be believed. No advance is a true 0.

    >>> counted_s([7.0, 7.25], 1.0), counted_s([5.0, 5.0], 1.0)
    ((0.25, ''), (0.0, ''))
    """
    if len(counter_s) < 2:
        return None, "too few answers"
    if any(after < before for before, after in pairwise(counter_s)):
        return None, "the counter went backwards: the driver was reloaded or the device reset"
    advanced_s = counter_s[-1] - counter_s[0]
    if advanced_s > window_s + 2 * COUNTER_STEP_S:
        return None, f"the counter says {advanced_s:.1f} s in a window of {window_s:.1f} s"
    return advanced_s, ""


def finding(values: Mapping[str, float | None], masks: Sequence[int]) -> Finding | None:
    """What held the clocks down, by the samples and by the counters; None where nothing did."""
    parts = []
    causes = [name for bit, name in SLOWDOWNS.items() if any(mask & bit for mask in masks)]
    if causes:
        parts.append(f"in {100 * (values['throttled_fraction'] or 0):.0f} % of the samples: {', '.join(causes)}")
    counted = [(cause, seconds) for name, cause in COUNTERS.items() if (seconds := values[name])]
    if counted:
        parts.append("by its counters for " + ", ".join(f"{seconds:.2f} s ({cause})" for cause, seconds in counted))
    if not parts:
        return None
    text = f"the GPU was held below its clocks {'; '.join(parts)}"
    return Finding(code="Throttled", text=text, advice="compare only with runs at the same clocks and power limit")
