"""The predictor to beat: one utilization per device, precision and kind of model, the median of what other sources reached."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def missed_naively(rows: Sequence[Scored]) -> list[Missed]:
    """Every row that has a class, as missed by the median utilization of the other sources nearest to it.

    Nearest: of its device, precision and kind; else of its precision and kind; else of its kind.
    """
    known = [(row.step, share) for row in rows if row.step and class_of(row) and (share := hardware_utilization(row.step))]
    found = []
    for row in rows:
        name = class_of(row)
        own = hardware_utilization(row.step) if row.step and name else None
        if row.step is None or name is None or own is None:
            continue
        others = _nearest(row.step, known)
        if others:
            taken = quantile(others, [1.0] * len(others), 0.5)
            found.append(
                Missed(
                    name=name,
                    source=row.step.source,
                    device=row.step.hardware.id,
                    software=row.step.stack.id,
                    log_ratio=math.log(taken / own),
                )
            )
    return found


def _nearest(step: MeasuredStep, known: Sequence[tuple[MeasuredStep, float]]) -> list[float]:
    unseen = [(other, share) for other, share in known if other.source != step.source and _experts(other) == _experts(step)]
    same_dtype = [(other, share) for other, share in unseen if other.dtype == step.dtype]
    same_device = [(other, share) for other, share in same_dtype if other.hardware.id == step.hardware.id]
    return [share for _, share in same_device or same_dtype or unseen]


def _experts(step: MeasuredStep) -> bool:
    return step.work.experts > 1
