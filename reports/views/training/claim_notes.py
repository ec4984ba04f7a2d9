"""Reasons for and against a claimed run, each from the claim's own figures."""

from __future__ import annotations

import math

from estimators.units import DAY_S, format_bytes, format_count, format_duration, format_fraction, format_int
from reports.views.training.study import Study


def rounded_range(share: float, tokens: int, wall_s: float) -> tuple[float, float] | None:
    """The lowest and highest share that claims rounding to the same figures would imply; None for exact figures.

    Tokens are taken as given to two figures where the rest are zeros, days to a whole day.
    """
    unit = 10 ** max(0, len(str(tokens)) - 2)
    half_tokens = unit / 2 if tokens % unit == 0 else 0
    half_s = DAY_S / 2 if wall_s % DAY_S == 0 else 0
    if not (half_tokens or half_s) or wall_s <= half_s:
        return None
    low = share * (tokens - half_tokens) / tokens * wall_s / (wall_s + half_s)
    high = share * (tokens + half_tokens) / tokens * wall_s / (wall_s - half_s)
    return low, high


def headroom_note(full_share: float) -> str:
    """What is left of the time once the products are done at peak speed."""
    taken, left = format_fraction(full_share), format_fraction(max(0.0, 1 - full_share))
    return (
        f"Doubt it: counted full the products alone take {taken} of the time at peak speed, so {left} is left for slower "
        "products, norms, softmax, optimizer, communication, data, checkpoints and restarts together."
    )


def rounding_notes(study: Study, share: float, wall_s: float) -> list[str]:
    """What rounding alone may have done to the share; nothing for exact figures."""
    rounded = rounded_range(share, study.tokens, wall_s)
    if not rounded:
        return []
    return [
        f"Rounding: {study.work_text} and {format_duration(wall_s)} look rounded; figures that round to them imply "
        f"{format_fraction(rounded[0])} to {format_fraction(rounded[1])} by 6·N·D."
    ]


def state_note(study: Study) -> str:
    """Whether the training's state fits on one device, so that none must share a model with others."""
    assert study.hardware is not None
    assert study.num_devices is not None
    state = study.state_bytes
    state_text = f"the training state of {format_bytes(state)} ({format_count(study.params)} parameters)"
    if state <= study.hardware.memory_bytes:
        return (
            f"Believe it: {state_text} fits on one device of {format_bytes(study.hardware.memory_bytes)}, so the "
            f"{format_int(study.num_devices)} devices need only average gradients: the easiest layout there is."
        )
    least = math.ceil(state / study.hardware.memory_bytes)
    return f"Doubt it: {state_text} needs at least {least} devices per replica, and splitting a model costs communication."
