"""The figures of the last steps while a training runs, for a line on stderr and for the user's logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.callbacks.flop_source import FlopSource
from bench.callbacks.steps import Step
from bench.statistics import robust
from estimators import units

NAMES = (
    "step_s",
    "tokens_per_s",
    "loss_tokens_per_s",
    "samples_per_s",
    "data_wait_fraction",
    "padding_fraction",
    "mfu_fraction",
    "hfu_fraction",
    "matmul_ceiling_fraction",
    "memory_bytes",
    "energy_j",
    "measured_over_predicted",
)
"""What `figures` may hold, each only where it is known. tokens_per_s leaves padding out; loss_tokens_per_s are those that bear a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBounds:
    """What a step's rate is held against; None where it is not known.

    Attributes:
        peak_flop_per_s: dense, of the datasheet.
        matmul_flop_per_s: measured here.
        predicted_step_s: before the run.
    """

    peak_flop_per_s: float | None = None
    matmul_flop_per_s: float | None = None
    predicted_step_s: float | None = None


def step_flop(step: Step, flop_source: FlopSource | None) -> tuple[int, int] | None:
    """FLOP of one step, as MFU and HFU count them; None where a batch in it was not counted."""
    if step.unsized:
        return None
    per_shape = [(rows, flop_source.flop(length) if flop_source else None) for rows, length in step.shapes]
    known = [(rows * flop[0], rows * flop[1]) for rows, flop in per_shape if flop is not None]
    return (sum(model for model, _ in known), sum(hard for _, hard in known)) if known and len(known) == len(per_shape) else None


def figures(
    steps: Sequence[Step],
    *,
    flop_source: FlopSource | None,
    bounds: RateBounds,
    item: str,
    memory_bytes: int | None,
    energy_j: float | None,
) -> dict[str, float]:
    """Rates over some steps of this rank: sums over their time, data wait included. What is not known is not there.

    `step_s` is the median of steps that are alike, else the mean: over it the tokens of an average step are their rate.
    """
    whole_s = sum(step.period_s for step in steps)
    if whole_s <= 0:
        return {}
    sized = all(step.is_sized for step in steps)
    num_items = sum(step.num_items or 0 for step in steps)
    losses = [step.num_loss_tokens for step in steps if step.num_loss_tokens is not None]
    unlike = len({(step.shapes, step.num_items) for step in steps}) > 1
    values: dict[str, float | None] = {
        "step_s": whole_s / len(steps) if unlike else robust.median([step.period_s for step in steps]),
        f"{item}s_per_s": num_items / whole_s if sized else None,
        "loss_tokens_per_s": sum(losses) / whole_s if len(losses) == len(steps) else None,
        "data_wait_fraction": sum(step.exposed_wait_s for step in steps) / whole_s,
        "memory_bytes": memory_bytes,
        "energy_j": energy_j,
    }
    if sized and all(step.num_padding is not None for step in steps):
        values["padding_fraction"] = 1 - num_items / sum(step.num_positions for step in steps)
    flop = [step_flop(step, flop_source) for step in steps]
    known = [pair for pair in flop if pair is not None]
    if len(known) == len(flop):
        model, hardware = (sum(pair[i] for pair in known) / whole_s for i in (0, 1))
        if bounds.peak_flop_per_s:
            values |= {"mfu_fraction": model / bounds.peak_flop_per_s, "hfu_fraction": hardware / bounds.peak_flop_per_s}
        if bounds.matmul_flop_per_s:
            values["matmul_ceiling_fraction"] = model / bounds.matmul_flop_per_s
    if bounds.predicted_step_s and not unlike:
        values["measured_over_predicted"] = (values["step_s"] or 0.0) / bounds.predicted_step_s
    return {name: value for name, value in values.items() if value is not None}


def text(num_steps: int, values: Mapping[str, float], *, num_ranks: int = 1, loss: float | None = None) -> str:
    """One line for people.

    >>> text(50, {"step_s": 0.25, "tokens_per_s": 4096.0, "data_wait_fraction": 0.02}, loss=2.5)
    'step 50 · 250 ms · 4,096 tokens/s · data wait 2.00 % · loss 2.5'
    """
    share = units.format_fraction
    of_a_rank = " of this rank" if num_ranks > 1 else ""
    written: dict[str, Callable[[float], str]] = {
        "step_s": units.format_duration,
        "tokens_per_s": lambda v: f"{v:,.0f} tokens/s{of_a_rank}",
        "loss_tokens_per_s": lambda v: f"{v:,.0f} of them with a loss",
        "samples_per_s": lambda v: f"{v:,.0f} samples/s{of_a_rank}",
        "data_wait_fraction": lambda v: f"data wait {share(v)}",
        "padding_fraction": lambda v: f"padding {share(v)}",
        "mfu_fraction": lambda v: f"MFU {share(v)}",
        "hfu_fraction": lambda v: f"HFU {share(v)}",
        "matmul_ceiling_fraction": lambda v: f"{share(v)} of the matmul ceiling",
        "memory_bytes": units.format_bytes,
        "energy_j": units.format_energy,
        "measured_over_predicted": lambda v: f"{v:.2f} times the predicted time",
    }
    parts = [f"step {num_steps:,}", *(written[name](values[name]) for name in NAMES if name in values)]
    return " · ".join([*parts, *([f"loss {loss:.4g}"] if loss is not None else [])])
