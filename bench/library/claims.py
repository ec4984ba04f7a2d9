"""What others say or saw, held against what is expected, without torch: check_claim, diagnose.

Options are keywords, and errors the exceptions, as in `bench.library.estimates`.
"""

from __future__ import annotations

from bench.library.answers import ClaimAnswer, DiagnosisAnswer
from bench.library.estimates import Number, Path, Time
from bench.library.keywords import ask


def check_claim(
    *,
    hardware: str,
    gpus: Number,
    days: Time,
    tokens: Number | None = None,
    images_total: Number | None = None,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    dtype: str | None = None,
    recompute: str | None = None,
) -> ClaimAnswer:
    """What a claimed training implies, where that stands, and whether physics allows it.

    An impossible claim is an answer whose `possible` is False.
    """
    return ClaimAnswer(*ask("check-claim", locals()))


def diagnose(
    *,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    file: Path | None = None,
    tokens_per_s: Number | None = None,
    samples_per_s: Number | None = None,
    requests_per_s: Number | None = None,
    step_time: str | None = None,
    wall_time: str | None = None,
    tokens: Number | None = None,
    steps: Number | None = None,
    mfu: Number | None = None,
    flop_per_s: Number | None = None,
    per: str | None = None,
    against: Number | None = None,
    against_gpus: Number | None = None,
    against_hardware: str | None = None,
    hardware: str | None = None,
    gpus: Number | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    batch: Number | None = None,
    grad_accum: Number | None = None,
    global_batch: Number | None = None,
    layout: str | None = None,
    software: str | None = None,
    dtype: str | None = None,
    recompute: str | None = None,
    method: str | None = None,
    phase: str | None = None,
    weights: str | None = None,
    flop_per_sample: Number | None = None,
) -> DiagnosisAnswer:
    """Whether a run's speed is normal, why not, and what settles it: `python -m bench diagnose --help` has every option.

    A run that is slow, miscounted or impossible is an answer whose `good` is False.
    """
    return DiagnosisAnswer(*ask("diagnose", locals()))
