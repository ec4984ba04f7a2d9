"""A plan: the best layout of a job on some devices, what came after it and why, and what a run takes."""

from __future__ import annotations

from estimators.cost.layout import Layout
from estimators.frozen import frozen
from estimators.training.at_utilization import check_devices
from estimators.training.layouts.feasibility import raise_nothing_fits
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.search import ANYTHING, OnProgress, Restriction, Search, search
from estimators.training.layouts.why import reason
from estimators.training.prediction import Prediction
from estimators.units import DAY_S, HOUR_S


@frozen
class Option:
    """One layout of a plan.

    Attributes:
        memory_bytes: on the fullest device.
        why: what it loses to the first; empty for the first.
    """

    prediction: Prediction
    memory_bytes: float
    why: str = ""

    @property
    def layout(self) -> Layout:
        """The layout."""
        return self.prediction.layout


@frozen
class Plan:
    """The options, best first.

    Attributes:
        num_legal, num_fitting: layouts that were priced, and that fit.
        too_large: the fastest layout of all where it does not fit: it, its step time and its memory.
    """

    job: Job
    num_devices: int
    global_batch: int
    options: tuple[Option, ...]
    num_legal: int
    num_fitting: int
    capacity_bytes: float
    too_large: tuple[Layout, float, float] | None

    @property
    def best(self) -> Option:
        """The first option."""
        return self.options[0]

    def run_s(self, tokens: int, step_time_s: float | None = None) -> float:
        """Seconds of steady steps of the best option on so many tokens."""
        return self.best.prediction.run_s(tokens, step_time_s)

    def gpu_hours(self, tokens: int) -> float:
        """Of the best option, steady steps alone."""
        return self.run_s(tokens) * self.num_devices / HOUR_S

    def gpu_days(self, tokens: int) -> float:
        """The same in days."""
        return self.run_s(tokens) * self.num_devices / DAY_S


def option(job: Job, layout: Layout, best: Prediction | None = None) -> Option:
    """One layout priced in full, with why it loses to `best`."""
    prediction = job.predict(layout)
    why = reason(prediction.ledger.parts, best.ledger.parts) if best is not None else ""
    return Option(prediction=prediction, memory_bytes=float(job.memory_bytes(layout)), why=why)


def plan(
    job: Job,
    num_devices: int,
    batch: Batch = PUBLISHED_BATCH,
    restriction: Restriction = ANYTHING,
    *,
    num_options: int = 5,
    on_progress: OnProgress | None = None,
) -> Plan:
    """The best few layouts of a job on so many devices.

    Args:
        batch: what is wished of it; by default what published runs of that size took.
        restriction: which layouts are wanted.

    Raises:
        BadValueError: no devices, or no legal layout.
        DoesNotFitError: none fits.
    """
    check_devices(num_devices)
    sequences = batch.on(num_devices, params=job.work.params, seq_len=job.seq_len)
    found = search(job, num_devices, sequences, restriction, on_progress=on_progress)
    if not found.num_fitting:
        raise_nothing_fits(found)
    return best_of(found, num_options)


def best_of(found: Search, num_options: int = 1) -> Plan:
    """The best few of a search in which at least one layout fits."""
    job = found.job
    layouts = found.best(num_options)
    first = option(job, layouts[0])
    fastest = found.fastest_of_all()
    return Plan(
        job=job,
        num_devices=found.num_devices,
        global_batch=found.global_batch,
        options=(first, *(option(job, layout, first.prediction) for layout in layouts[1:])),
        num_legal=len(found.lanes),
        num_fitting=found.num_fitting,
        capacity_bytes=found.capacity_bytes,
        too_large=fastest if fastest and fastest[2] > found.capacity_bytes else None,
    )
