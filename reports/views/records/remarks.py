"""Lines under the answer of a run: what was generated, what to know, what the instruments cost, what is unavailable and why."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.record import Measurement
from bench.statistics import robust
from estimators import units

MAX_NAMES = 3
"""Of unavailable figures that share a reason, how many a person is shown; json has all."""

MAX_TEXT = 160
"""Characters of generated text that are shown."""

NOISY_FRACTION = 0.02
"""Half width of the interval above which elapsed time does not tell what the instruments cost."""


def _observer(record: Measurement) -> str | None:
    """What the instruments cost, in a line; by processor time where elapsed time scatters too much to tell."""
    cost = record.environment.get("observer")
    if not cost or not cost["wall_ratios"] or not cost["processor_ratios"]:
        return None
    interval = robust.median_interval(cost["wall_ratios"])
    if interval is None:
        return None
    wall, processor = (100 * (robust.median(cost[name]) - 1) for name in ("wall_ratios", "processor_ratios"))
    within = f"95 %: {100 * (interval[0] - 1):+.1f} to {100 * (interval[1] - 1):+.1f} %"
    how = f"measured here, on and off by turns in {len(cost['wall_ratios'])} rounds"
    step = units.format_duration(cost["step_s"])
    if interval[1] - interval[0] > 2 * NOISY_FRACTION:
        hidden = f"What the instruments cost a step of {step} is lost in this machine's noise ({within})"
        return f"{hidden}; processor time {processor:+.1f} %, {how}."
    return f"Instruments cost {wall:+.1f} % ({within}) of a step of {step}, {how}."


def remarks(record: Measurement) -> Iterator[str]:
    """What was generated, findings with their advice, then what is unavailable, each reason once."""
    if record.learning.output_text:
        yield f"It wrote: {record.learning.output_text[:MAX_TEXT]!r}"
    for finding in record.warnings:
        yield f"{finding.code}: {finding.text}" + (f"; {finding.advice}" if finding.advice else "")
    cost = _observer(record)
    if cost:
        yield cost
    by_reason: dict[str, list[str]] = {}
    for name, reason in record.unavailable.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        yield f"Unavailable: {', '.join(names[:MAX_NAMES])}{more}: {reason}"
