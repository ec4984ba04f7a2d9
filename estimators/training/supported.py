"""Which models' training steps the cost model covers."""

from __future__ import annotations

import functools
from typing import Any

from estimators.errors import BadValueError
from estimators.spec import Model, Workload
from estimators.training.sequence_cost import sequence_cost_of

MAX_UNCOVERED = 0.001
"""Share of a model's forward FLOP that a prediction may leave out."""


def not_covered(model: Model, seq_len: int) -> str:
    """Why the cost model does not cover a model's step, in words that follow its name; empty where it does.

    Operations that it knows nothing of would be predicted to take no time. Scans it prices as fused attention, see `passes`.
    """
    return _not_covered(model, seq_len)


@functools.lru_cache(maxsize=64)
def _not_covered(model: Any, seq_len: int) -> str:
    try:
        work = sequence_cost_of(model, seq_len)
    except BadValueError:
        return "is not a decoder with a head"
    ops = model.ops(Workload(phase="train", seq_len=seq_len))
    counted = sum(op.count * op.flop for op in ops)
    if abs(work.forward_flop(causal=False) - counted) > MAX_UNCOVERED * counted:
        return "has products that step times do not cover"
    return ""


def why_not_predicted(model: Model, seq_len: int) -> str:
    """Why no training step of a model is predicted, whatever else is given; empty where one is."""
    if not model.generates:
        return f"{model.name} does not write tokens one by one"
    reason = not_covered(model, seq_len)
    return f"{model.name} {reason}" if reason else ""
