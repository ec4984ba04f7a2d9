"""All legal layouts priced at once, lane by lane, and those that fit ranked: a few different ones instead of ten variants of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from estimators.cost.layout import Layout
from estimators.cost.software import DEFAULT_STACK, SHARDED_STACK, is_sharded
from estimators.frozen import field, frozen, replace
from estimators.training.layouts import fine_tuning
from estimators.training.layouts.candidates import Candidates, candidates
from estimators.training.layouts.emit import launcher
from estimators.training.layouts.job import Job
from estimators.training.layouts.restriction import ANYTHING, OnProgress, Restriction
from estimators.training.layouts.software_limits import runs

CHUNK = 8192
"""Layouts priced at a time: as many as keep the intermediate arrays in the processor's cache."""

TIE = 1e-6
"""Relative difference of step times below which the simpler layout wins."""


@frozen
class PricedLanes:
    """Every legal layout with its price.

    Attributes:
        num_legal: layouts, those that the restriction rules out among them.
        step_time_s, memory_bytes, needed_bytes: one figure per lane; what is needed has a reserve.
        capacity_bytes: of one device, less the job's margin.
    """

    num_legal: int
    lanes: Candidates = field(hash=False)
    step_time_s: Any = field(hash=False)
    memory_bytes: Any = field(hash=False)
    needed_bytes: Any = field(hash=False)
    capacity_bytes: float

    @property
    def fits(self) -> Any:
        """Which lanes fit into a device."""
        return self.needed_bytes <= self.capacity_bytes

    @property
    def num_fitting(self) -> int:
        """How many do."""
        return int(np.count_nonzero(self.fits))

    def best(self, num: int = 5) -> list[Layout]:
        """The fastest layouts that fit, one per family; empty where none fits."""
        return [self.lanes.layout(lane) for lane in self.best_lanes(num)]

    def best_lanes(self, num: int = 5) -> list[int]:
        """Their places. Equal times go to the simpler layout."""
        fitting = np.flatnonzero(self.fits)
        if not len(fitting):
            return []
        fastest = float(self.step_time_s[fitting].min())
        rounded = np.round(np.log(self.step_time_s[fitting] / fastest) / TIE)
        order = fitting[np.lexsort((_complexity(self.lanes.take(fitting)), rounded))]
        families = _families(self.lanes.take(order))
        _, first = np.unique(families, axis=0, return_index=True)
        return [int(order[place]) for place in sorted(first)[:num]]

    def fastest_of_all(self) -> tuple[Layout, float, float] | None:
        """The fastest layout whether or not it fits, its step time and the memory that it needs."""
        if not len(self.lanes):
            return None
        lane = int(np.argmin(self.step_time_s))
        return self.lanes.layout(lane), float(self.step_time_s[lane]), float(self.needed_bytes[lane])

    def smallest(self) -> tuple[Layout, float] | None:
        """The layout that needs the least memory, and how much."""
        if not len(self.lanes):
            return None
        lane = int(np.argmin(self.needed_bytes))
        return self.lanes.layout(lane), float(self.needed_bytes[lane])


def _complexity(lanes: Candidates) -> Any:
    """How much there is to set up: degrees of parallelism, chunks, what is sharded, what is recomputed, sequences at once."""
    cuts = sum(np.log2(getattr(lanes, name)) + (getattr(lanes, name) > 1) for name in ("tp", "pp", "cp", "ep", "vp"))
    return cuts + lanes.zero + (lanes.shard > 0) + lanes.selective + 2 * lanes.full + np.log2(lanes.micro_batch) / 8


def _families(lanes: Candidates) -> Any:
    """What makes two layouts different in kind: how the model is cut, and whether weights are sharded."""
    return np.stack([lanes.tp, lanes.pp, lanes.cp, lanes.ep, lanes.zero >= 3, lanes.full], axis=1)


def _chunks(job: Job, lanes: Candidates) -> Iterator[tuple[Any, Job]]:
    """Places of lanes, some at a time, and the job under the software that prices them: the job's own, else what is usual for each."""
    groups = [(np.arange(len(lanes)), job)]
    if not job.stack_id:
        sharded = is_sharded(lanes)
        groups = [
            (np.flatnonzero(mask), replace(job, stack_id=name)) for mask, name in ((sharded, SHARDED_STACK), (~sharded, DEFAULT_STACK))
        ]
    for places, one in groups:
        for start in range(0, len(places), CHUNK):
            yield places[start : start + CHUNK], one


def _priced(job: Job, lanes: Candidates, on_progress: OnProgress | None) -> tuple[Any, Any, Any]:
    """Step time, memory and what is needed of it, lane by lane."""
    times, memory = np.empty(len(lanes)), np.empty(len(lanes))
    done = 0
    for chunk, one in _chunks(job, lanes):
        part = lanes.take(chunk)
        times[chunk] = one.ledger(part).step_time_s
        memory[chunk] = one.memory_bytes(part)
        done += len(chunk)
        if on_progress:
            on_progress(done, len(lanes))
    return times, memory, memory


def _priced_one_by_one(job: Job, lanes: Candidates) -> tuple[Any, Any, Any]:
    """The same of a fine-tuning, which has few layouts."""
    layouts = [lanes.layout(lane) for lane in range(len(lanes))]
    fits = [fine_tuning.fit_of(job, layout) for layout in layouts]
    times = [fine_tuning.step_of(job, layout).step_time_s for layout in layouts]
    memory = np.array([each.allocated_bytes for each in fits])
    return np.array(times), memory, np.array([each.needed_bytes for each in fits])


def priced_lanes(
    job: Job,
    num_devices: int,
    global_batch: int,
    restriction: Restriction = ANYTHING,
    *,
    on_progress: OnProgress | None = None,
) -> PricedLanes:
    """Every legal layout of a job on so many devices, priced in time and memory.

    Args:
        global_batch: sequences of one step.
    """
    machine, tp = job.machine, restriction.max_tp
    lanes = candidates(job.work, num_devices, global_batch, domain=int(machine.domain), max_tp=tp, schedule=restriction.schedule)
    lanes = lanes.take(runs(job.stack_id, lanes))
    if job.is_tuned:
        lanes = lanes.take(fine_tuning.usual_layouts(job, lanes))
    num_legal = len(lanes)
    if restriction.launcher:
        lanes = lanes.take(launcher(restriction.launcher).can_run(lanes))
    times, memory, needed = _priced_one_by_one(job, lanes) if job.is_tuned else _priced(job, lanes, on_progress)
    return PricedLanes(
        num_legal=num_legal,
        lanes=lanes,
        step_time_s=times,
        memory_bytes=memory,
        needed_bytes=needed,
        capacity_bytes=job.plannable_bytes,
    )
