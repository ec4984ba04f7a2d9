"""Suites: several runs and one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import environment
from bench.draft import Draft
from bench.record import Measurement
from estimators.hf_config import model_from_config
from estimators.registry import hardware, model_entry
from estimators.training import training_run
from estimators.units import format_duration, format_flop_rate

REFERENCE_HARDWARE, REFERENCE_DEVICES, REFERENCE_UTILIZATION = "a100-sxm4-80gb", 1024, 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What one suite runs.

    Attributes:
        help: one line.
        models: registry ids that are measured, in order, each with its default task.
        estimated: models that are only estimated, with the tokens of their training.
    """

    help: str
    models: tuple[str, ...]
    estimated: tuple[tuple[str, int], ...]


SUITES: dict[str, Suite] = {
    "article": Suite(
        help="the article's models really trained, Phi-2 generating, and GPT-3 175B by estimate",
        models=("linreg-1d", "linreg-7d", "linreg-28d", "linreg-56d", "sigmoid-10", "sigmoid-100", "mlp", "spam", "tiny-gpt", "phi-2"),
        estimated=(("gpt-3-175b", 300 * 10**9),),
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
    seq_len = getattr(model, "max_positions", 1)
    cluster = training_run(
        model, tokens=tokens, seq_len=seq_len, hardware=reference, num_devices=REFERENCE_DEVICES, utilization=REFERENCE_UTILIZATION
    )
    rate = max((c.value for record in measured for c in record.ceilings if c.kind == "matmul"), default=None)
    draft = Draft(
        model=entry.id,
        task="estimate",
        request={"model": entry.id, "task": "estimate", "tokens": tokens, "seq_len": seq_len, "config": dict(entry.config)},
        out=out,
    )
    draft.environment = environment.collect()
    at_rate = (
        "no rate was measured"
        if rate is None
        else f"the time is this training at the highest matmul rate measured here, {format_flop_rate(rate)}"
    )
    draft.estimate = {
        "params": cluster.params,
        "training_flop": cluster.training_flop["full"],
        "time_at_ceiling_s": None if rate is None else cluster.training_flop["full"] / rate,
        "gpu_seconds": cluster.gpu_seconds,
        "wall_s": cluster.wall_s,
        "note": f"{at_rate}; on {REFERENCE_DEVICES:,} x {reference.name} at {100 * REFERENCE_UTILIZATION:.0f} % utilization "
        f"it takes {format_duration(cluster.wall_s)}",
    }
    return draft.save("complete")
