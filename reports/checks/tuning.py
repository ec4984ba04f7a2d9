"""Rules about a fine-tuning: what it held by part is what arithmetic said, and so is its step."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.estimated import EstimatedTuning
from bench.records.record import Measurement
from bench.statistics.rates import main_phase, typical_s
from estimators import units
from estimators.tuning.countable import COUNTABLE
from reports.checks.check import Check
from reports.checks.conditions import NOT_STRICT, is_strict

QUANTISED_TOLERANCE = 0.05
"""Of weights in 4 bits: bitsandbytes casts biases to the dtype of what it is given, and their share is largest in small models."""

STEP_FACTOR = 2.0
"""A step that takes so many times the predicted one, or so many times less, was predicted wrong, or measured on a busy machine."""


def memory_by_part(record: Measurement) -> Iterator[Check]:
    """Trained elements, weights, gradients, optimizer state and what autograd kept: equal to the byte where the law is exact."""
    said, held = record.estimate.tuning, record.proof.tuning
    if said is None or held is None:
        return
    yield Check(
        metric="trained parameters",
        estimated=said.trained_params,
        observed=held.trained_params,
        rule="==",
        ok=held.trained_params == said.trained_params,
        format=units.format_int,
    )
    for name in COUNTABLE:
        if name in said.parts_bytes and name in held.parts_bytes:
            yield _part(name, said, said.parts_bytes[name], held.parts_bytes[name])


def _part(name: str, said: EstimatedTuning, predicted: int, counted: int) -> Check:
    tolerance = QUANTISED_TOLERANCE if name == "weights" and said.base_format else 0.0
    ok: bool | None = abs(counted - predicted) <= tolerance * predicted
    explanation = ""
    if not ok:
        explanation = f"off by {units.format_bytes(counted - predicted)}" if counted > predicted else ""
        if name == "activations" and said.inexact:
            ok, explanation = None, said.inexact
    return Check(
        metric=f"{name}, counted on tensors",
        estimated=predicted,
        observed=counted,
        rule="within" if tolerance else "==",
        tolerance=tolerance,
        ok=ok,
        explanation=explanation,
        format=units.format_bytes,
    )


def peak(record: Measurement) -> Iterator[Check]:
    """What torch's allocator held at most lies in the prediction's interval, which holds 80 % of measured rows: outside is not judged."""
    said, held = record.estimate.tuning, record.memory_bytes.get("torch_allocated")
    if said is None or held is None:
        return
    ok = said.peak_low_bytes <= held <= said.peak_high_bytes
    yield Check(
        metric=f"torch_allocated against the peak ({said.peak_moment})",
        estimated=said.peak_bytes,
        observed=held,
        rule="within",
        ok=ok or (False if is_strict(record) else None),
        explanation="" if ok else f"80 % of measured runs lie from {_bytes(said.peak_low_bytes)} to {_bytes(said.peak_high_bytes)}",
        format=units.format_bytes,
    )


def _bytes(size: int) -> str:
    return units.format_bytes(size)


def step_time(record: Measurement) -> Iterator[Check]:
    """The measured step against the predicted one: from the machine's calibration, else from the device's row."""
    predicted_s, phase = predicted_step_s(record), main_phase(record)
    if predicted_s is None or phase is None or not phase.samples_s:
        return
    measured_s = typical_s(record, phase)
    ok = 1 / STEP_FACTOR <= measured_s / predicted_s <= STEP_FACTOR
    yield Check(
        metric="train_step against the predicted step",
        estimated=predicted_s,
        observed=measured_s,
        rule=f"within a factor of {STEP_FACTOR:g}",
        ok=ok or (False if is_strict(record) else None),
        explanation="" if ok else f"{measured_s / predicted_s:.2f} times the prediction; {NOT_STRICT}",
        format=units.format_duration,
    )


def predicted_step_s(record: Measurement) -> float | None:
    """The predicted step of a fine-tuning; None where neither a calibration nor a device's row gave one."""
    said = record.estimate.tuning
    if said is None:
        return None
    return record.estimate.local.seconds_s if record.estimate.local is not None else said.step_s
