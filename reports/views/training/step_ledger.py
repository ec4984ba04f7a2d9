"""Where the seconds of a predicted step go, and the rates that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.training.prediction import Prediction
from estimators.training.step import TUNING_PARTS
from estimators.units import format_duration, format_fraction, format_grouped
from reports.table import Column, Table, Value


def rate_facts(prediction: Prediction) -> dict[str, Any]:
    """Throughput, and shares of the dense peak; None where no peak is published, or where the whole square of attention passes it."""
    full = prediction.utilization("full")
    return {
        "tokens_per_s": prediction.tokens_per_s_per_device * prediction.layout.num_devices,
        "tokens_per_s_per_device": prediction.tokens_per_s_per_device,
        "mfu_convention": prediction.convention,
        "mfu_fraction": prediction.mfu,
        "mfu_full_fraction": None if full is None or full > 1 else full,
        "mfu_causal_fraction": prediction.utilization("causal"),
        "hfu_fraction": prediction.hfu,
    }


def _rates_line(prediction: Prediction) -> str:
    rates = rate_facts(prediction)
    shown = [("MFU (causal)", "mfu_causal_fraction"), ("HFU", "hfu_fraction")]
    if prediction.convention == "full":
        shown.insert(0, ("MFU", "mfu_full_fraction"))
    shares = [f"{label} {format_fraction(rates[name])}" for label, name in shown if rates[name] is not None]
    return ", ".join([f"{format_grouped(rates['tokens_per_s_per_device'])} tokens/s per GPU", *shares])


_MFU_NOTES = {
    "full": "MFU counts the attention square, causal half of it",
    "causal": "MFU counts the attention that a query may see",
}


def part_columns(what: str = "what", share: str = "fraction") -> list[Column]:
    """Of a table of a step's parts.

    Args:
        what, share: keys of a part's words and of its share.
    """
    return [
        Column(key="part", header="part" if what == "what" else "", raw=True),
        Column(key=what, header="part"),
        Column(key="time_s", header="time", format=format_duration, align="right"),
        Column(key=share, header="share", format=format_fraction, align="right"),
    ]


def part_rows(
    parts: Mapping[str, Any], names: Mapping[str, str], step_s: float, what: str = "what", share: str = "fraction"
) -> list[dict[str, Value]]:
    """Seconds and share of every part of a step that takes time, and what it is."""
    return [
        {"part": part, what: names[part], "time_s": float(seconds), share: float(seconds) / step_s}
        for part, seconds in parts.items()
        if seconds > 0
    ]


def ledger_table(prediction: Prediction) -> Table:
    """Seconds and share of every part of a step that takes time; they sum to the step."""
    step_s = prediction.step_time_s
    return Table(
        title=f"Where a step of {format_duration(step_s)} goes",
        conditions=[_rates_line(prediction), "the slowest device; communication only where nothing hides it"],
        columns=part_columns(),
        rows=part_rows(prediction.ledger.parts, TUNING_PARTS, step_s),
        notes=[f"The parts sum to the step. {_MFU_NOTES[prediction.convention]}, HFU what is recomputed in full as well."],
        key="step",
        kind="estimated",
    )


def plan_ledger_table(prediction: Prediction) -> Table:
    """The same of a plan's best layout, the whole step in a row of its own."""
    step_s, keys = prediction.step_time_s, ("text", "step_fraction")
    whole: dict[str, Value] = {"part": "whole", "text": "whole step", "time_s": step_s, "step_fraction": 1.0}
    return Table(
        title=f"Where the {format_duration(step_s)} of a step go",
        columns=part_columns(*keys),
        rows=[*part_rows(prediction.ledger.parts, TUNING_PARTS, step_s, *keys), whole],
        key="ledger",
        kind="estimated",
    )
