"""A plan: the best layout of a job on some devices, what came after it and why, and what a run takes."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.cost.layout import Layout
from estimators.frozen import frozen
from estimators.training.at_utilization import check_devices
from estimators.training.layouts.feasibility import raise_nothing_fits
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.restriction import ANYTHING, OnProgress, Restriction
from estimators.training.layouts.search import Search, search
from estimators.training.prediction import Prediction
from estimators.training.step import PARTS
from estimators.units import DAY_S, HOUR_S, format_signed_duration


@frozen
class Option:
    """One layout of a plan.

    Attributes:
        memory_bytes: on the fullest device.
        in_margin: whether that fills the memory that plans leave free.
        why: what it loses to the first; empty for the first.
    """

    prediction: Prediction
    memory_bytes: float
    in_margin: bool = False
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
        capacity_bytes: of one device, less the job's margin.
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
    held = float(job.on(layout).memory_bytes(layout))
    return Option(prediction=prediction, memory_bytes=held, in_margin=job.needed_bytes(layout) > job.plannable_bytes, why=why)


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
    sequences = job.sequences(batch, num_devices)
    searched = search(job, num_devices, sequences, restriction, on_progress=on_progress)
    if not searched.num_fitting:
        raise_nothing_fits(searched)
    return best_of(searched, num_options)


def best_of(searched: Search, num_options: int = 1) -> Plan:
    """The best few of a search in which at least one layout fits."""
    job = searched.job
    layouts = searched.best(num_options)
    first = option(job, layouts[0])
    fastest = searched.fastest_of_all()
    return Plan(
        job=job,
        num_devices=searched.num_devices,
        global_batch=searched.global_batch,
        options=(first, *(option(job, layout, first.prediction) for layout in layouts[1:])),
        num_legal=searched.num_priced,
        num_fitting=searched.num_fitting,
        capacity_bytes=searched.capacity_bytes,
        too_large=fastest if fastest and fastest[2] > searched.capacity_bytes else None,
    )


MAX_PARTS = 3
WORTH_SAYING = 0.05
"""Parts below this share of the whole difference are not shown."""

SHORT = {  # what a column has room for
    "matmul": "matrix products",
    "experts": "expert products",
    "attention": "attention",
    "traffic": "memory-bound work",
    "head": "head and loss",
    "recompute": "recomputation",
    "dequantise": "dequantisation",
    "accumulate": "adding gradients",
    "launch": "launches",
    "tensor_comm": "tensor-parallel communication",
    "expert_comm": "expert communication",
    "context_comm": "context-parallel communication",
    "pipeline_comm": "pipeline communication",
    "bubble": "pipeline bubble",
    "imbalance": "uneven stages",
    "data_comm": "gradients and weights between replicas",
    "optimizer": "optimizer",
    "step": "fixed cost",
    "straggle": "stragglers",
}


def differences(mine: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Seconds that `mine` takes more than `other`, part by part, the largest first; parts that do not differ are left out."""
    by_part = {name: float(mine[name]) - float(other[name]) for name in PARTS}
    return dict(sorted(((name, s) for name, s in by_part.items() if s), key=lambda pair: -abs(pair[1])))


def reason(mine: Mapping[str, float], best: Mapping[str, float]) -> str:
    """Why `mine` loses to `best`, such as ``pipeline bubble +1.20 s, recomputation +0.400 s; less launches -0.100 s``."""
    changes = differences(mine, best)
    if not changes:
        return "takes as long; set up less simply"
    largest = max(abs(seconds) for seconds in changes.values())
    told = {
        name: f"{SHORT.get(name, PARTS[name])} {format_signed_duration(seconds)}"
        for name, seconds in changes.items()
        if abs(seconds) >= WORTH_SAYING * largest
    }
    more = [text for name, text in told.items() if changes[name] > 0][:MAX_PARTS]
    less = [text for name, text in told.items() if changes[name] < 0][: MAX_PARTS - 1]
    return "; saves ".join(", ".join(part) for part in (more, less) if part) if more else f"saves {', '.join(less)}"
