"""Check: one figure held against another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One figure held against another.

    Attributes:
        metric: what is compared.
        estimated, observed: raw values in base units; None where there is none.
        rule: ==, <=, >=, <, parts add up.
        ok: whether it holds; None where it could not be judged, and then `explanation` says why.
        explanation: where the two differ, or why it could not be judged.
        tolerance: share by which `observed` may pass `estimated`.
        format: how people read the two values.
    """

    metric: str
    estimated: float | int | str | None
    observed: float | int | str | None
    rule: str
    ok: bool | None
    explanation: str = ""
    tolerance: float = 0.0
    format: Callable[[Any], str] = str
