"""What was seen of a training, written into its draft. Only the main rank has one to fill."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from bench.records.draft import Draft
from bench.records.learning import CurvePoint, Learning
from bench.records.proof import Proof
from bench.records.record import Finding, Phase
from bench.workloads.article.subjects import Subject

WARMUP_STEPS, WARMUP_SHARE = 10, 10
"""The first steps allocate and choose kernels: 10 of them are kept apart, but never more than a tenth of all."""


def note_ranks(draft: Draft, accelerator: Accelerator) -> None:
    """Write into the record what accelerate made of the device, over how many ranks and on how many threads."""
    draft.request = draft.request.replaced(
        device=str(accelerator.device),
        num_ranks=accelerator.num_processes,
        num_threads=torch.get_num_threads(),
    )


def finite(draft: Draft, values: Mapping[str, float]) -> dict[str, Any]:
    """Figures by the name of their field, None where they are not numbers; then the draft says why and what to do."""
    diverged = {name: value for name, value in values.items() if not math.isfinite(value)}
    draft.unavailable |= {name: f"the training diverged: {name} is {value}" for name, value in diverged.items()}
    if diverged and not any(f.code == "Diverged" for f in draft.warnings):
        text = "the training diverged: a loss is not a number"
        draft.warnings.append(Finding(code="Diverged", text=text, advice="lower --learning-rate"))
    return {name: None if name in diverged else value for name, value in values.items()}


def keep_curve(draft: Draft, curve: Sequence[CurvePoint]) -> None:
    """Keep the losses after some of the epochs, as far as they are numbers."""
    draft.learning |= Learning(
        curve=tuple(point for point in curve if math.isfinite(point.train_loss) and math.isfinite(point.heldout_loss))
    )


def keep_interrupted(draft: Draft, num_steps: int, batch: int, num_ranks: int) -> None:
    """Say what an interrupted training does not have. The other ranks may be gone and are not asked."""
    draft.proof |= Proof(num_samples=num_steps * batch)
    for name in ("loss_last", "train_loss", "heldout_loss"):
        draft.unavailable[name] = "the training was interrupted"
    if num_ranks > 1:
        draft.unavailable["slowest_rank"] = "the training was interrupted; step times are those of rank 0"


def add_times(
    draft: Draft, subject: Subject, batch: int, *, step_s: Sequence[float], epoch_s: Sequence[float], clock: str, stopped_by: str
) -> None:
    """Add the epochs and then the steps, since an interrupted phase ends the run."""
    items = batch * subject.items_per_row
    if epoch_s:
        whole_steps = max(1, len(subject.train) // batch)
        draft.add_phase(Phase(name="epoch", samples_s=tuple(epoch_s), items_per_sample=whole_steps * items, item=subject.item))
    warmup = min(WARMUP_STEPS, len(step_s) // WARMUP_SHARE)
    steady, first = tuple(step_s[warmup:]), tuple(step_s[:warmup])
    draft.add_phase(
        Phase(
            name="train_step",
            samples_s=steady,
            warmup_s=first,
            items_per_sample=items,
            item=subject.item,
            clock=clock,
            stopped_by=stopped_by,
        )
    )
