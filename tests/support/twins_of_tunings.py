"""What the cross-check must not let pass of a fine-tuning: a sound record and a twin of each."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.records.estimated import Estimated, EstimatedTuning
from bench.records.proof import CountedTuning
from bench.records.record import Measurement
from bench.sampling.presets import preset
from tests.support.changed_records import with_proof
from tests.support.tiny_models import record
from tests.support.twins_of_work import Twins

PARTS = {"weights": 1000, "adapters": 100, "gradients": 100, "optimizer": 200, "activations": 5000, "loss": 400}


def tuning(*, strict: bool = False, allocated: int | None = None, held: dict[str, int] | None = None, **said: Any) -> Measurement:
    """A record of a LoRA, all as predicted, its step by a device's row; or what is changed of it."""
    predicted: dict[str, Any] = {"method": "lora", "precision": "bf16", "optimizer": "sgd", "trained_params": 25, "parts_bytes": PARTS}
    predicted |= {"peak_bytes": 1000, "peak_low_bytes": 950, "peak_high_bytes": 1200, "peak_moment": "loss", "step_s": 1.0}
    made = record("train")
    made = dataclasses.replace(made, estimate=made.estimate | Estimated(tuning=EstimatedTuning(**predicted | said), memory_bytes={}))
    made = with_proof(made, tuning=CountedTuning(trained_params=25, parts_bytes=PARTS | (held or {})))
    if allocated is not None:
        made = dataclasses.replace(made, memory_bytes={"torch_allocated": allocated, "torch_reserved": 10**6})
    return dataclasses.replace(made, request=made.request.replaced(preset_values=preset("rigorous"))) if strict else made


TWINS: Twins = {
    "one parameter more is trained": (lambda: tuning(), lambda: tuning(trained_params=24), ["trained parameters"]),
    "gradients are a byte more than predicted": (
        lambda: tuning(),
        lambda: tuning(held={"gradients": 101}),
        ["gradients, counted on tensors"],
    ),
    "activations are a byte less than an exact law says": (
        lambda: tuning(held={"activations": 4999}, inexact="experts are followed in outline"),
        lambda: tuning(held={"activations": 4999}),
        ["activations, counted on tensors"],
    ),
    "quantised weights are off by more than their biases may be": (
        lambda: tuning(held={"weights": 951}, base_format="nf4"),
        lambda: tuning(held={"weights": 949}, base_format="nf4"),
        ["weights, counted on tensors"],
    ),
    "the allocator of a strict run held more than the interval": (
        lambda: tuning(strict=True, allocated=1200),
        lambda: tuning(strict=True, allocated=1201),
        ["torch_allocated against the peak (loss)"],
    ),
    "a strict run's step took more than twice the predicted one": (
        lambda: tuning(strict=True, step_s=0.5),
        lambda: tuning(strict=True, step_s=0.49),
        ["train_step against the predicted step"],
    ),
}
"""What is wrong with the twin: the sound record, the twin, and the checks that fail."""
