"""search(): what comes of pricing all legal layouts; a question that was asked before is answered from memory, without numpy."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from estimators import remembered
from estimators.cost.layout import Layout, parse_layout
from estimators.frozen import frozen
from estimators.training.layouts.job import Job
from estimators.training.layouts.restriction import ANYTHING, OnProgress, Restriction

if TYPE_CHECKING:
    from estimators.training.layouts.priced_lanes import PricedLanes

MOST_OPTIONS = 50
"""Layouts that are ranked at most."""

KIND = "searches"


@frozen
class Search:
    """What came of pricing every legal layout of a job. Layouts are written as `parse_layout` reads them.

    Attributes:
        num_legal: layouts, those that the restriction rules out among them.
        num_priced, num_fitting: those that it leaves, and those of them that fit.
        ranked: the fastest that fit, one per family, at most MOST_OPTIONS; equal times go to the simpler layout.
        fastest: of all, whether or not it fits: it, its step time in seconds and the bytes that it needs; None without any.
        least: the one that needs the least memory, and how many bytes; None without any.
    """

    job: Job
    num_devices: int
    global_batch: int
    restriction: Restriction
    num_legal: int
    num_priced: int
    num_fitting: int
    ranked: tuple[str, ...]
    fastest: tuple[str, float, float] | None
    least: tuple[str, float] | None

    @property
    def capacity_bytes(self) -> float:
        """Of one device, less the job's margin."""
        return self.job.plannable_bytes

    def best(self, num: int = 5) -> list[Layout]:
        """The fastest layouts that fit, one per family, at most MOST_OPTIONS; empty where none fits."""
        return [self._layout(text) for text in self.ranked[:num]]

    def fastest_of_all(self) -> tuple[Layout, float, float] | None:
        """The fastest layout whether or not it fits, its step time and the memory that it needs."""
        return (self._layout(self.fastest[0]), *self.fastest[1:]) if self.fastest else None

    def smallest(self) -> tuple[Layout, float] | None:
        """The layout that needs the least memory, and how much."""
        return (self._layout(self.least[0]), *self.least[1:]) if self.least else None

    def _layout(self, text: str) -> Layout:
        return parse_layout(text, num_devices=self.num_devices, global_batch=self.global_batch)


def search(
    job: Job,
    num_devices: int,
    global_batch: int,
    restriction: Restriction = ANYTHING,
    *,
    on_progress: OnProgress | None = None,
) -> Search:
    """What comes of pricing every legal layout of a job on so many devices, in time and memory.

    Args:
        global_batch: sequences of one step.
        on_progress: told while layouts are priced, and nothing of what is remembered.
    """
    question = f"{_said(job)} {num_devices} {global_batch} {restriction!r}"
    outcome = remembered.recall(KIND, question)
    if outcome is None:
        from estimators.training.layouts.priced_lanes import priced_lanes  # deferred: numpy

        outcome = _outcome(priced_lanes(job, num_devices, global_batch, restriction, on_progress=on_progress))
        remembered.remember(KIND, question, outcome)
    tuples = {name: tuple(value) for name, value in outcome.items() if isinstance(value, list)}
    return Search(job=job, num_devices=num_devices, global_batch=global_batch, restriction=restriction, **{**outcome, **tuples})


_said = functools.lru_cache(maxsize=8)(repr)
"""A job in words, every field of it; searched on many numbers of devices it is written once."""


def _outcome(priced: PricedLanes) -> dict[str, Any]:
    """The fields of a Search that pricing decides, as json has them."""
    fastest, least = priced.fastest_of_all(), priced.smallest()
    return {
        "num_legal": priced.num_legal,
        "num_priced": len(priced.lanes),
        "num_fitting": priced.num_fitting,
        "ranked": [str(layout) for layout in priced.best(MOST_OPTIONS)],
        "fastest": [str(fastest[0]), *fastest[1:]] if fastest else None,
        "least": [str(least[0]), *least[1:]] if least else None,
    }
