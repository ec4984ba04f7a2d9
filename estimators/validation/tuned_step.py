"""A measured step of a fine-tuning in the tables of trainings, as the job of a framework that it is."""

from __future__ import annotations

from estimators.architectures.adapters import FineTuned
from estimators.architectures.decoder import Decoder
from estimators.method import FULL
from estimators.training.layouts import fine_tuning
from estimators.training.layouts.job import Job
from estimators.tuning.constants import constants_file
from estimators.validation.case import MeasuredStep

KINDS = ("lora", "fine-tuning")
"""Kinds of measured steps that are fine-tunings."""


def tuned_job(step: MeasuredStep) -> Job | None:
    """The job by constants that never saw its source; None of what is no fine-tuning, or whose layout cuts the model."""
    model, method = (step.model.base, step.model.method) if isinstance(step.model, FineTuned) else (step.model, FULL)
    whole = step.stack.id in fine_tuning.SOFTWARE and bool(fine_tuning.is_whole(step.layout)) and step.dtype in fine_tuning.DTYPES
    if step.kind not in KINDS or not whole or not isinstance(model, Decoder):
        return None
    return Job(
        model=model,
        method=method,
        hardware=step.hardware,
        seq_len=step.seq_len,
        dtype=step.dtype,
        stack_id=step.stack.id,
        cluster=step.cluster,
        network_bytes_per_s=step.network_bytes_per_s,
        without=step.source if step.source in constants_file()["without"] else "",
    )
