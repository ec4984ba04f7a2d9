"""What a layout must keep to: the broken rule in one line, with the nearest thing that works."""

from __future__ import annotations

from typing import NoReturn

from estimators.cost.divisibility import nearest
from estimators.cost.layout import Layout
from estimators.errors import BadValueError, DoesNotFitError
from estimators.training.layouts.degrees import legal_degrees
from estimators.training.layouts.job import Job
from estimators.training.layouts.restriction import ANYTHING, Restriction
from estimators.training.layouts.search import Search, search
from estimators.units import format_bytes, format_fraction

MAX_SEARCHED_DEVICES = 65_536
"""Beyond it nobody is told that more devices would hold a model."""


def check_layout(job: Job, layout: Layout) -> None:
    """Whether a layout of the user's own can run the model at all, and fits.

    Raises:
        BadValueError: a rule is broken.
        DoesNotFitError: it needs more memory than a device has.
    """
    job.check(layout)
    needed, capacity = job.needed_bytes(layout), job.capacity_bytes
    if not job.fits(layout):
        raise DoesNotFitError(
            f"{layout} needs {format_bytes(needed)} on the fullest GPU, {format_bytes(needed - capacity)} more than the "
            f"{format_bytes(capacity)} of {job.hardware.id}; {_remedy(job, layout)}"
        )


def _remedy(job: Job, layout: Layout) -> str:
    """The fastest layout on the same devices that fits, else how many devices would hold the model."""
    searched = search(job, layout.num_devices, layout.global_batch)
    if searched.num_fitting:
        return f"what fits on the same GPUs: {searched.best(1)[0]}"
    return _enough(job, layout.num_devices, layout.global_batch)


def raise_nothing_fits(tried: Search) -> NoReturn:
    """Say why a search came to nothing.

    Raises:
        BadValueError: no layout is legal.
        DoesNotFitError: none fits: by how much, and how many devices would hold the model.
    """
    job, num_devices, batch = tried.job, tried.num_devices, tried.global_batch
    smallest = tried.smallest()
    if smallest is None and tried.num_legal:
        raise BadValueError(
            f"{tried.restriction.launcher} runs none of the {tried.num_legal:,} legal layouts of {job.trained.name} "
            f"on {num_devices:,} GPUs; take another launcher, or leave it out"
        )
    if smallest is None:
        raise BadValueError(_nothing_legal(job, num_devices, batch))
    layout, needed = smallest
    raise DoesNotFitError(
        f"{job.trained.name} at {job.seq_len:,} tokens fits on {num_devices:,} x {job.hardware.id} in no layout: the smallest ({layout}) "
        f"needs {format_bytes(needed)} of {format_bytes(tried.capacity_bytes)}{_left_free(job)}, "
        f"{format_bytes(needed - tried.capacity_bytes)} too much; {_enough(job, num_devices, batch, tried.restriction)}"
    )


def _left_free(job: Job) -> str:
    """What the margin takes, in words; empty without one."""
    return f" ({format_fraction(job.margin)} of {format_bytes(job.capacity_bytes)} is left free)" if job.margin else ""


def _nothing_legal(job: Job, num_devices: int, global_batch: int) -> str:
    """Why: replicas, stages and tensor-parallel degrees that multiply to the devices leave a number that the batch does not divide into."""
    domain = int(job.machine.domain)
    near = range(max(1, num_devices // 2), num_devices * 2) if num_devices <= 4096 else ()
    legal = [num for num in near if any(legal_degrees(job.work, num, global_batch, domain))]
    unit = num_devices // (num_devices & -num_devices)  # what is odd in it
    batch = max(1, round(global_batch / unit)) * unit
    other = f", or {nearest(num_devices, legal):,} GPUs" if legal else ""
    return (
        f"a global batch of {global_batch:,} sequences does not divide over {num_devices:,} GPUs in any layout of {job.trained.name}; "
        f"the nearest that does: {batch:,} sequences{other}"
    )


def smallest_num_devices(job: Job, global_batch: int, restriction: Restriction = ANYTHING, *, more_than: int = 0) -> int | None:
    """The fewest devices on which some layout fits; None where not even MAX_SEARCHED_DEVICES hold it.

    Powers of two first; between the last that fails and the first that holds, sixteen steps.
    """
    below, holds = more_than, 1
    while holds <= more_than or not _fits(job, holds, global_batch, restriction):
        below = max(below, holds if holds > more_than else more_than)
        holds *= 2
        if holds > MAX_SEARCHED_DEVICES:
            return None
    step = max(1, holds // 32)
    return next((num for num in range(holds // 2 + step, holds, step) if num > below and _fits(job, num, global_batch, restriction)), holds)


def _fits(job: Job, num_devices: int, global_batch: int, restriction: Restriction) -> bool:
    return search(job, num_devices, global_batch, restriction).num_fitting > 0


def _enough(job: Job, num_devices: int, global_batch: int, restriction: Restriction = ANYTHING) -> str:
    fewest = smallest_num_devices(job, global_batch, restriction, more_than=num_devices)
    if fewest is None:
        return f"not even {MAX_SEARCHED_DEVICES:,} of them hold it; take a shorter --seq-len or a larger --global-batch"
    return f"the fewest that hold it: {fewest:,}"
