"""Suites: several runs and one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import environment
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.estimated import Estimated
from bench.records.record import Measurement
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import hardware, model_entry
from estimators.training.at_utilization import training_run
from estimators.units import format_duration, format_flop_rate

REFERENCE_HARDWARE, REFERENCE_DEVICES, REFERENCE_UTILIZATION = "a100-sxm4-80gb", 1024, 0.45


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """One run of a suite.

    Attributes:
        model: registry id.
        changes: fields of the request, beside what the command line says; without any, the model's default task.
    """

    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What one suite runs.

    Attributes:
        help: one line.
        runs: what is measured, in order.
        estimated: models that are only estimated, with the tokens of their training.
    """

    help: str
    runs: tuple[SuiteRun, ...]
    estimated: tuple[tuple[str, int], ...]


_ARTICLE = ("linreg-1d", "linreg-7d", "linreg-28d", "linreg-56d", "sigmoid-10", "sigmoid-100", "mlp", "spam")
_LANGUAGE = ("tiny-gpt", "phi-2")
_OVERFITTING: tuple[dict[str, Any], ...] = (
    {"neurons": 2, "train_days": 90, "epochs": 1500},
    {"neurons": 10, "train_days": 90, "epochs": 1500},
    {"train_days": 90, "epochs": 1500},
    {"train_days": 365, "epochs": 300},
    {"train_days": 1405, "epochs": 72},
)
"""Of the deep network that looks back on 28 days: more and more parameters on 90 days, then more and more days, each for about 1,500 steps.
Its 13,101 parameters are enough to remember 90 days with their noise."""
_REACH: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("phi-2", {"task": "decode", "seq_len": 128, "new_tokens": 129}, {"cache": "static", "compile": True}),
    ("gpt2", {"task": "train", "batch": 32, "seq_len": 1024}, {"compile": True}),
    ("phi-2", {"task": "train", "batch": 2, "seq_len": 2048}, {"compile": True}),
)
"""Model, the request, and what is set beside it once for the best."""

SUITES: dict[str, Suite] = {
    "article": Suite(
        help="the article's models really trained, Phi-2 generating, and GPT-3 175B by estimate",
        runs=(
            *map(SuiteRun, _ARTICLE),
            *(SuiteRun("mlp", {"days": 28, **changes}) for changes in _OVERFITTING),
            *map(SuiteRun, _LANGUAGE),
        ),
        estimated=(("gpt-3-175b", 300 * 10**9),),
    ),
    "reach": Suite(
        help="for a GPU: Phi-2 decoding, GPT-2 and Phi-2 in training, each with plain settings and with the best of transformers",
        runs=tuple(SuiteRun(model, changes | best) for model, changes, bests in _REACH for best in ({}, bests)),
        estimated=(),
    ),
}


def estimate_only(name: str, tokens: int, measured: Sequence[Measurement], out: Path) -> Measurement:
    """A record of a training that is only estimated: at this machine's matmul rate, and on a cluster.

    Args:
        measured: the suite's other records; the best matmul rate among them is this machine's.
        out: folder of records.
    """
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id, entry.source)
    reference = hardware(REFERENCE_HARDWARE)
    seq_len = model.max_positions
    cluster = training_run(
        model, tokens=tokens, seq_len=seq_len, hardware=reference, num_devices=REFERENCE_DEVICES, utilization=REFERENCE_UTILIZATION
    )
    rate = max((c.value for record in measured for c in record.ceilings if c.kind == "matmul"), default=None)
    draft = Draft(
        model=entry.id,
        task="estimate",
        request=Asked(model=entry.id, task="estimate", tokens=tokens, seq_len=seq_len, config=dict(entry.config)),
        out=out,
    )
    draft.environment = environment.collect()
    at_rate = (
        "no rate was measured"
        if rate is None
        else f"the time is this training at the highest matmul rate measured here, {format_flop_rate(rate)}"
    )
    draft.estimate = Estimated(
        params=cluster.params,
        training_flop=cluster.training_flop["full"],
        time_at_ceiling_s=None if rate is None else cluster.training_flop["full"] / rate,
        gpu_seconds=cluster.gpu_seconds,
        wall_s=cluster.wall_s,
        note=f"{at_rate}; on {REFERENCE_DEVICES:,} x {reference.name} at {100 * REFERENCE_UTILIZATION:.0f} % utilization "
        f"it takes {format_duration(cluster.wall_s)}",
    )
    return draft.save("complete")
