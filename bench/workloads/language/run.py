"""One run of a causal language model, decided, with what was found for it on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bench.workloads.step_run import StepRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Published or own weights on this machine.

    Attributes:
        place: what transformers loads: a folder, or a name in the hub's cache.
        label: what every table says.
    """

    place: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRun(StepRun):
    """Everything that a generation, a prefill, decode steps or training steps need to know.

    Attributes:
        job: the fine-tuning that a training is; None trains all weights in fp32, and is of every other task.
        cache: of keys and values, one of bench.records.request.CACHES.
        layers: slices of half and of all of these are measured and extrapolated; None measures the whole model.
        checkpoint: the weights to load; None draws random ones.
        trust_remote_code: whether the checkpoint's own code may run.
        tokenizer: the checkpoint's, which reads a generation; None where there is none at hand.
        prompt_ids: 1 x T, the tokenized prompt; None lets seeded random ids stand in.
    """

    cache: str
    layers: int | None
    checkpoint: Checkpoint | None
    trust_remote_code: bool
    tokenizer: Any | None
    prompt_ids: torch.Tensor | None
