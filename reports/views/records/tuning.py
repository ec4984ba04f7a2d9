"""A fine-tuning's memory by part, as predicted and as counted, and its step beside the predicted one."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.estimated import EstimatedTuning
from bench.records.record import Measurement
from bench.statistics.rates import main_phase, typical_s
from estimators import units
from estimators.tuning.countable import COUNTABLE
from reports.checks.tuning import predicted_step_s
from reports.table import Column, Table, Value

NAMES = {"full": "full fine-tuning", "lora": "LoRA", "qlora": "QLoRA", "dora": "DoRA"}


def tuning_table(record: Measurement) -> Table:
    """One row for each part; no row for a training that is no fine-tuning, or that was broken off before it was counted."""
    said, held = record.estimate.tuning, record.proof.tuning
    rows: list[dict[str, Value]] = []
    if said is not None and held is not None:
        known = [name for name in COUNTABLE if name in said.parts_bytes and name in held.parts_bytes]
        for name in known:
            predicted, counted = said.parts_bytes[name], held.parts_bytes[name]
            if predicted or counted:
                row: dict[str, Value] = {"part": name, "predicted_bytes": predicted, "counted_bytes": counted}
                rows.append(row | {"difference_bytes": counted - predicted, "what": COUNTABLE[name]})
    return Table(
        key="tuning",
        title="What it held: predicted as `fit` does, counted on its tensors during one more step",
        conditions=[] if said is None else [in_words(said)],
        columns=(
            Column(key="part", header="part"),
            Column(key="predicted_bytes", header="predicted", format=units.format_bytes, align="right"),
            Column(key="counted_bytes", header="counted", format=units.format_bytes, align="right"),
            Column(key="difference_bytes", header="off by", format=_difference, align="right"),
            Column(key="what", header="what it is"),
        ),
        rows=rows,
        notes=[*_left_out(said, rows), *step_lines(record)],
    )


def in_words(said: EstimatedTuning) -> str:
    """What is trained, and how.

    >>> in_words(EstimatedTuning(method="full", precision="bf16", optimizer="sgd", trained_params=1000, parts_bytes={}, peak_bytes=1,
    ...     peak_low_bytes=1, peak_high_bytes=1, peak_moment="loss"))
    'full fine-tuning · 1,000 parameters trained · weights in bf16 · sgd'
    """
    over = f" over {said.base_format}" if said.base_format else ""
    adapters = f" of {said.adapters}{over}" if said.adapters else ""
    trained = f"{units.format_int(said.trained_params)} parameters trained"
    return " · ".join([f"{NAMES[said.method]}{adapters}", trained, f"weights in {said.precision}", said.optimizer])


def step_lines(record: Measurement) -> Iterator[str]:
    """The predicted step beside the measured one, and the peak on the device."""
    said, phase = record.estimate.tuning, main_phase(record)
    if said is None:
        return
    predicted_s = predicted_step_s(record)
    if predicted_s is None:
        yield "step: not predicted here; with a calibration of this machine it is: python -m bench calibrate"
    elif phase is not None and phase.samples_s:
        measured_s = typical_s(record, phase)
        source = "this machine's calibration" if record.estimate.local is not None else f"the row of {record.estimate.hardware}"
        times = f"{units.format_duration(predicted_s)} by {source}, {units.format_duration(measured_s)} measured"
        yield f"step: {times}, {100 * (predicted_s / measured_s - 1):+.1f} %"
    held = record.memory_bytes.get("torch_allocated")
    seen = f", {units.format_bytes(held)} by torch's allocator" if held is not None else ""
    interval = f"{units.format_bytes(said.peak_low_bytes)} to {units.format_bytes(said.peak_high_bytes)}"
    yield f"peak on a GPU: {units.format_bytes(said.peak_bytes)}, 80 %: {interval}; decided by: {said.peak_moment}{seen}"


def tuning_facts(record: Measurement) -> dict[str, object]:
    """Single values of a fine-tuning; none of any other run."""
    said = record.estimate.tuning
    if said is None:
        return {}
    return {
        "method": said.method,
        "trained_params": said.trained_params,
        "predicted_peak_bytes": said.peak_bytes,
        "predicted_step_s": predicted_step_s(record),
    }


def _left_out(said: EstimatedTuning | None, rows: list[dict[str, Value]]) -> list[str]:
    """Why the activations that were counted are others than was predicted, where it is known."""
    differs = any(row["part"] == "activations" and row["difference_bytes"] for row in rows)
    return [f"activations: {said.inexact}"] if said is not None and said.inexact and differs else []


def _difference(size: int) -> str:
    return "–" if size == 0 else f"{'+' if size > 0 else '-'}{units.format_bytes(abs(size))}"
