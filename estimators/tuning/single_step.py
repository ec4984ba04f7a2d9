"""The fine-tuning that a single training step of an adapted model is, and its memory by part: for estimates of one step."""

from __future__ import annotations

from estimators.architectures.adapters import FineTuned
from estimators.architectures.decoder import Decoder
from estimators.spec import Model, Workload
from estimators.tuning.job import TuningJob
from estimators.tuning.memory import memory_of_job
from estimators.tuning.recipes import UNKNOWN, recipe
from estimators.tuning.settings import job_of, method_settings, precision_settings, transformers_name


def job_of_step(model: FineTuned, workload: Workload) -> TuningJob:
    """The job of a step where nobody named a framework.

    Weights are in the workload's dtype, or in bf16 where products are of fewer bits; layers are run again where the workload says so.
    """
    dtype = workload.dtype if workload.dtype in ("bf16", "fp16", "fp32") else "bf16"
    habits = recipe(UNKNOWN)
    given = method_settings(model.base, model.method)
    given |= precision_settings(None if dtype == "bf16" else dtype, habits, str(given["method"]))
    given |= {"micro_batch": workload.batch, "seq_len": workload.seq_len, "optimizer": transformers_name(workload.optimizer)}
    return job_of(model.base, habits, given | {"checkpointing": "full" if workload.recompute == "full" else "none"})


def step_memory(job: TuningJob) -> dict[str, int]:
    """Whole bytes of the moment that decides, by part; they sum to what is allocated then."""
    moment = memory_of_job(job).fullest
    parts = {name: round(size) for name, size in moment.parts.items()}
    largest = max(parts, key=lambda name: parts[name])
    parts[largest] += round(moment.total_bytes) - sum(parts.values())
    return parts


def memory_of_step(model: Model, workload: Workload) -> dict[str, int] | None:
    """The memory of a training step by part; None of what is no decoder that is trained in part."""
    if not isinstance(model, FineTuned) or not isinstance(model.base, Decoder):
        return None
    return step_memory(job_of_step(model, workload))


def state_of_step(model: Model, dtype: str) -> int | None:
    """Bytes that are there while the optimizer steps; None of what is no decoder that is trained in part."""
    if not isinstance(model, FineTuned) or not isinstance(model.base, Decoder):
        return None
    return round(memory_of_job(job_of_step(model, Workload(phase="train", dtype=dtype))).moments[-1].total_bytes)
