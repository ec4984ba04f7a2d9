"""One run, decided: nothing behind `bench.runs.decide` sees a request whose fields may be open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.records.asked import Asked
from estimators.tuning.job import TuningJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is run, as far as an estimate, a count and a record need it; each kind of workload adds what it needs to run.

    Attributes:
        model: a registry id, or the name of the user's own configuration.
        config: the configuration that is run, flags applied.
        task: a key of bench.records.request.TASKS.
        batch: sequences (or samples) of a step, over all ranks.
        seq_len: tokens of a sequence, of the prompt where tokens are generated; 1 for networks without a sequence.
        new_tokens: tokens to generate, 0 for none; of a training, those of the text that it writes at its end.
        num_beams: beams per prompt, 1 where there is no beam search.
        dtype: of compute.
        optimizer: adamw or sgd.
        recompute: none or full activation checkpointing.
        job: the fine-tuning that a training is, as `fit` describes it; None trains all weights in fp32.
        request: the record's block of that name: what was asked, with what was decided in its place. Only a record reads it.
    """

    model: str
    config: dict[str, Any]
    task: str
    batch: int
    seq_len: int
    new_tokens: int
    num_beams: int
    dtype: str
    optimizer: str
    recompute: str
    job: TuningJob | None
    request: Asked
