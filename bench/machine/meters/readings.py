"""What a meter hands back: figures by name, and the reason for every one that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.record import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Figures of one instrument over one window.

    Attributes:
        values: name, with its unit as suffix, to figure; None where it could not be had, never 0.
        unavailable: name to reason, for exactly the figures that are None.
        findings: what a reader should know before using them.
    """

    values: Mapping[str, float | None]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        missing = {name for name, value in self.values.items() if value is None}
        assert missing == self.unavailable.keys(), missing ^ self.unavailable.keys()


def no_readings(names: tuple[str, ...], reason: str) -> Readings:
    """None of the figures, all for the same reason."""
    return Readings(values=dict.fromkeys(names), unavailable=dict.fromkeys(names, reason))
