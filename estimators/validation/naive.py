"""The predictor to beat: one utilization per device, precision and kind of model, the median of what other sources reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from estimators.frozen import frozen, replace
from estimators.validation.case import MeasuredStep
from estimators.validation.left_out import Missed, class_of
from estimators.validation.score import Scored, quantile


def hardware_utilization(step: MeasuredStep) -> float | None:
    """Share of the dense peak, recomputed layers counted; None where no peak or no time is known."""
    peak = step.hardware.peak_flop_per_s.get(step.dtype)
    if not peak or not step.measured_step_time_s:
        return None
    work = step.work
    flop = work.forward_flop(causal=False) * (2 if step.layout.full else 1) + work.backward_flop(causal=False)
    return flop * step.layout.global_batch / (step.measured_step_time_s * peak * step.layout.num_devices)


@frozen
class _Reached:
    """A row's utilization, and what it is looked up by, the nearest first."""

    row: Missed
    share: float
    keys: tuple[tuple[object, ...], ...]


def missed_naively(rows: Sequence[Scored]) -> list[Missed]:
    """Every row that has a class, as missed by the median utilization of the other sources nearest to it.

    Nearest: of its device, precision and kind; else of its precision and kind; else of its kind.
    """
    reached = [one for row in rows if (one := _reached(row))]
    shares: dict[tuple[object, ...], dict[str, list[float]]] = {}
    for one in reached:
        for key in one.keys:
            shares.setdefault(key, {}).setdefault(one.row.source, []).append(one.share)
    found = []
    for one in reached:
        taken = next((middle for key in one.keys if (middle := _middle(shares[key], one.row.source))), None)
        if taken:
            found.append(replace(one.row, log_ratio=math.log(taken / one.share)))
    return found


def _reached(row: Scored) -> _Reached | None:
    name = class_of(row)
    share = hardware_utilization(row.step) if row.step and name else None
    if row.step is None or name is None or share is None:
        return None
    step, experts = row.step, row.step.work.experts > 1
    missed = Missed(name=name, source=step.source, device=step.hardware.id, software=step.stack.id, log_ratio=0.0)
    return _Reached(row=missed, share=share, keys=((experts, step.dtype, step.hardware.id), (experts, step.dtype), (experts,)))


def _middle(by_source: Mapping[str, Sequence[float]], source: str) -> float | None:
    """The median of the other sources' shares; None without any."""
    others = [share for other, shares in by_source.items() if other != source for share in shares]
    return quantile(others, [1.0] * len(others), 0.5) if others else None
