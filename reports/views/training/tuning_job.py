"""A fine-tuning in lines: what is trained, whose habits fill in the rest, and what decides its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.units import format_int
from estimators.weight_formats import PLAIN

if TYPE_CHECKING:
    from estimators.tuning.job import TuningJob


def method_words(job: TuningJob) -> str:
    """What is trained, such as ``QLoRA of rank 16 over nf4``."""
    method = job.method
    if job.objective == "inference":
        return "inference" if method.base_format == PLAIN else f"inference in {method.base_format}"
    if method.rank:
        name = "DoRA" if method.dora else "LoRA" if method.base_format == PLAIN else "QLoRA"
        over = "" if method.base_format == PLAIN else f" over {method.base_format}"
        trained = f"{name} of rank {method.rank}{over}"
    else:
        trained = "all weights" if method.frozen_layers is None else f"all but {method.frozen_layers} layers"
    return trained if job.objective == "sft" else f"{job.objective.upper()} of {trained}"


def framework_words(job: TuningJob) -> str:
    """Whose habits fill in what was not said."""
    return "transformers with peft assumed; --framework names yours" if job.is_recipe_assumed else f"{job.recipe.framework}'s habits"


def settings_line(job: TuningJob) -> str:
    """The settings that decide the memory: batch, checkpointing, loss, optimizer, precision."""
    length = "rows" if job.packing != "none" else "longest sample"
    return (
        f"{job.micro_batch} x {format_int(job.seq_len)} tokens ({length}), checkpointing {job.checkpointing}, loss {job.loss}, "
        f"{job.optimizer}, {job.weights_dtype} weights{f' under autocast to {job.autocast}' if job.autocast else ''}"
    )


def job_lines(job: TuningJob) -> list[str]:
    """All three."""
    return [method_words(job), framework_words(job), settings_line(job)]
