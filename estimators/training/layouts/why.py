"""Why one layout loses to another: the parts of the two ledgers that differ most, in words, with seconds."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.training.step import PARTS
from estimators.units import format_signed_duration

MAX_PARTS = 3
WORTH_SAYING = 0.05
"""Parts that are below this share of the whole difference are not worth a word."""

SHORT = {  # what a column has room for
    "matmul": "matrix products",
    "experts": "expert products",
    "attention": "attention",
    "traffic": "memory-bound work",
    "head": "head and loss",
    "recompute": "recomputation",
    "dequantise": "dequantisation",
    "accumulate": "adding gradients",
    "launch": "launches",
    "tensor_comm": "tensor-parallel communication",
    "expert_comm": "expert communication",
    "context_comm": "context-parallel communication",
    "pipeline_comm": "pipeline communication",
    "bubble": "pipeline bubble",
    "imbalance": "uneven stages",
    "data_comm": "gradients and weights between replicas",
    "optimizer": "optimizer",
    "step": "fixed cost",
    "straggle": "stragglers",
}


def differences(mine: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Seconds that `mine` takes more than `other`, part by part, the largest first; parts that do not differ are left out."""
    found = {name: float(mine[name]) - float(other[name]) for name in PARTS}
    return dict(sorted(((name, s) for name, s in found.items() if s), key=lambda pair: -abs(pair[1])))


def reason(mine: Mapping[str, float], best: Mapping[str, float]) -> str:
    """Why `mine` loses to `best`, such as ``pipeline bubble +1.20 s, recomputation +0.400 s; less launches -0.100 s``."""
    changes = differences(mine, best)
    if not changes:
        return "takes as long; set up less simply"
    largest = max(abs(seconds) for seconds in changes.values())
    told = {
        name: f"{SHORT.get(name, PARTS[name])} {format_signed_duration(seconds)}"
        for name, seconds in changes.items()
        if abs(seconds) >= WORTH_SAYING * largest
    }
    more = [text for name, text in told.items() if changes[name] > 0][:MAX_PARTS]
    less = [text for name, text in told.items() if changes[name] < 0][: MAX_PARTS - 1]
    return "; saves ".join(", ".join(part) for part in (more, less) if part) if more else f"saves {', '.join(less)}"
