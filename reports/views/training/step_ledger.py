"""Where the seconds of a predicted step go, and the rates that follow from it."""

from __future__ import annotations

from typing import Any

from estimators.training.prediction import Prediction
from estimators.training.step import PARTS
from estimators.units import format_duration, format_fraction, format_grouped
from reports.table import Column, Table, Value

RATES = {"full": "mfu_full_fraction", "causal": "mfu_causal_fraction", "hardware": "hfu_fraction"}
"""Convention -> the name of its share of peak."""


def rate_facts(prediction: Prediction) -> dict[str, Any]:
    """Throughput, and shares of the dense peak by convention; None where no peak is published."""
    return {
        "tokens_per_s": prediction.tokens_per_s_per_device * prediction.layout.num_devices,
        "tokens_per_s_per_device": prediction.tokens_per_s_per_device,
        **{name: prediction.utilization(convention) for convention, name in RATES.items()},
    }


def _rates_line(prediction: Prediction) -> str:
    rates = rate_facts(prediction)
    shares = [
        f"{label} {format_fraction(rates[name])}"
        for label, name in (("MFU", "mfu_full_fraction"), ("MFU (causal)", "mfu_causal_fraction"), ("HFU", "hfu_fraction"))
        if rates[name] is not None
    ]
    return ", ".join([f"{format_grouped(rates['tokens_per_s_per_device'])} tokens/s per GPU", *shares])


def ledger_table(prediction: Prediction) -> Table:
    """Seconds and share of every part of a step that takes time; they sum to the step."""
    step_s = prediction.step_time_s
    rows: list[dict[str, Value]] = [
        {"part": part, "what": PARTS[part], "time_s": seconds, "fraction": seconds / step_s}
        for part, seconds in prediction.ledger.parts.items()
        if seconds > 0
    ]
    return Table(
        title=f"Where a step of {format_duration(step_s)} goes",
        conditions=[_rates_line(prediction), "the slowest device; communication only where nothing hides it"],
        columns=[
            Column(key="part", header="part", raw=True),
            Column(key="what", header="part"),
            Column(key="time_s", header="time", format=format_duration, align="right"),
            Column(key="fraction", header="share", format=format_fraction, align="right"),
        ],
        rows=rows,
        notes=["The parts sum to the step. MFU counts the attention square, causal half of it, HFU what is recomputed in full as well."],
        key="step",
    )
