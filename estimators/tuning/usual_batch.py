"""How many samples a step of a fine-tuning has, and how many run at a time, where nobody says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from estimators.frozen import replace
from estimators.spec import Hardware
from estimators.tuning.fit import fit
from estimators.tuning.job import Sharding, TuningJob
from estimators.tuning.recipes import Recipe
from estimators.tuning.step import tuning_step

SAMPLES_PER_STEP = 16
"""Of a step where neither the user nor a framework says: what most examples of frameworks come to."""

TIE = 1e-6
"""Relative difference of step times below which fewer samples at a time win, and weights that are not shared out."""


def usual_samples(recipe: Recipe, devices: int, *, assumed: bool) -> int:
    """Samples of one step on devices that work on different ones: the framework's, else SAMPLES_PER_STEP or one each.

    Args:
        assumed: whether nobody named the framework.
    """
    if assumed or not recipe.micro_batch:
        return max(1, SAMPLES_PER_STEP // devices) * devices
    return recipe.micro_batch * (recipe.accumulation or 1) * devices


def ranked(priced: Sequence[tuple[float, float]]) -> list[int]:
    """Places of choices, the best first: by step time, among equals by how much there is to set up.

    Args:
        priced: seconds of a step and that.
    """
    fastest = min(seconds for seconds, _ in priced)
    return sorted(range(len(priced)), key=lambda i: (round(math.log(priced[i][0] / fastest) / TIE), priced[i][1], i))


def effort(job: TuningJob) -> float:
    """How much there is to set up: what is shared out, samples at a time."""
    return (3.0 if job.sharding in ("fsdp", "zero-3") else 0.0) + math.log2(job.micro_batch) / 8


def usual_job(job: TuningJob, hardware: Hardware, *, accumulation: int | None = None) -> TuningJob:
    """The job with the batch that is usual, as `plan` chooses it: the fastest that fits; one sample at a time where none does.

    Args:
        job: its micro-batch and accumulation are not looked at, nor what its devices share.
        accumulation: as the user has it.

    Raises:
        BadValueError: as `fit` and `tuning_step`.
    """
    choices = list(_choices(job, accumulation))
    fitting = [choice for choice in choices if fit(choice, hardware).verdict == "FITS"]
    if len(fitting) > 1:
        return fitting[ranked([(tuning_step(choice, hardware).step_time_s, effort(choice)) for choice in fitting])[0]]
    return fitting[0] if fitting else choices[0]


def _choices(job: TuningJob, accumulation: int | None) -> Iterator[TuningJob]:
    """Every way to run the samples of a step, the one first that holds least of them and shares nothing out."""
    shardings: tuple[Sharding, ...] = (job.sharding, "fsdp") if job.sharding == "ddp" else (job.sharding,)
    share = usual_samples(job.recipe, job.data_parallel, assumed=True) // job.data_parallel
    for sharding in shardings:
        for size in range(1, share + 1):
            if share % size == 0:
                yield replace(job, sharding=sharding, micro_batch=size, accumulation=accumulation or share // size)
