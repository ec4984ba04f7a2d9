"""What arithmetic says of a fine-tuning before it starts, as its record keeps it. No torch."""

from __future__ import annotations

from bench.records.estimated import EstimatedTuning
from estimators.architectures.adapters import FineTuned, trained
from estimators.errors import BadValueError
from estimators.spec import Hardware
from estimators.tuning.countable import countable_bytes, why_not_exact
from estimators.tuning.fit import interval_of
from estimators.tuning.interval import interval
from estimators.tuning.job import TuningJob
from estimators.tuning.memory import memory_of_job
from estimators.tuning.step import tuning_step
from estimators.weight_formats import PLAIN


def tuning_of(job: TuningJob, trained_params: int, hardware: Hardware | None, *, on_cpu: bool) -> EstimatedTuning:
    """Memory by part and at its fullest, and the step of a device whose row is known.

    Args:
        trained_params: elements that training changes, by the op table.
        on_cpu: whether a CPU runs it.
    """
    memory, (low, high) = memory_of_job(job), interval_of(job)
    said = EstimatedTuning(
        method=method_name(job),
        adapters=adapters_in_words(job),
        base_format="" if job.method.base_format == PLAIN else job.method.base_format,
        precision=job.weights_dtype if not job.autocast else f"{job.weights_dtype} under autocast to {job.autocast}",
        optimizer=job.optimizer,
        trained_params=trained_params,
        parts_bytes=countable_bytes(job, on_cpu=on_cpu),
        inexact=why_not_exact(job),
        peak_bytes=round(memory.allocated_bytes),
        peak_low_bytes=round(low * memory.allocated_bytes),
        peak_high_bytes=round(high * memory.allocated_bytes),
        peak_moment=memory.fullest.name,
    )
    if hardware is None:
        return said
    try:
        step_s = tuning_step(job, hardware).step_time_s
    except BadValueError:  # no step of this model, or in this dtype, is predicted from a device's row
        return said
    faster, slower = interval(job)
    return said.replaced(step_s=step_s, step_low_s=faster * step_s, step_high_s=slower * step_s)


def method_name(job: TuningJob) -> str:
    """What people call it: full, lora, qlora or dora."""
    if not job.trains_adapters:
        return "full"
    if job.method.dora:
        return "dora"
    return "lora" if job.method.base_format == PLAIN else "qlora"


def adapters_in_words(job: TuningJob) -> str:
    """Rank and matrices, such as ``rank 8 on query, value``; empty where there are none."""
    model = trained(job.model, job.method)
    return f"rank {model.rank} on {', '.join(sorted(model.targets))}" if isinstance(model, FineTuned) and model.rank else ""
