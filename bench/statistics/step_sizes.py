"""Steps of a watched training that differ in size: no middle one stands for them, so that a rate is their sum over their time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.records.proof import WatchedTraining
from bench.records.record import Measurement, Phase


@dataclass(frozen=True, slots=True)
class UnlikeSteps:
    """The timed steps of a phase, of which at least two differ in what they hold.

    Attributes:
        seconds_s: of each.
        items: tokens or samples of each, padding left out.
        is_usual: whether a step is of the most common size.
    """

    seconds_s: npt.NDArray[np.float64]
    items: npt.NDArray[np.int64]
    is_usual: npt.NDArray[np.bool_]

    @property
    def mean_s(self) -> float:
        """Time of an average step."""
        return float(self.seconds_s.mean())

    @property
    def mean_items(self) -> float:
        """Tokens or samples of an average step: over `mean_s` they are the sum over the sum."""
        return float(self.items.mean())


def of_usual_size(items: Sequence[int], positions: Sequence[int]) -> npt.NDArray[np.bool_] | None:
    """Whether a step is of the most common size, step by step; None where all are alike.

    >>> of_usual_size([8, 2, 8], [8, 8, 8]).tolist(), of_usual_size([8, 8], [9, 9])
    ([True, False, True], None)
    """
    held, computed = np.asarray(items, dtype=np.int64), np.asarray(positions, dtype=np.int64)
    if not held.size or (held.min() == held.max() and computed.min() == computed.max()):
        return None
    kinds = np.unique(held * (int(computed.max()) + 1) + computed, return_inverse=True)[1]
    usual: npt.NDArray[np.bool_] = kinds == np.bincount(kinds).argmax()
    return usual


def steps_of_unlike_size(record: Measurement, phase: Phase) -> UnlikeSteps | None:
    """The timed steps of a watched training where they differ in size; None where they are alike, and for other records."""
    seen = record.proof.watched
    sizes = _sizes(seen, len(phase.warmup_s), len(phase.samples_s)) if seen else None
    return None if sizes is None else UnlikeSteps(np.asarray(phase.samples_s), *sizes)


@functools.lru_cache(maxsize=4)
def _sizes(seen: WatchedTraining, skip: int, num: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]] | None:
    """What each timed step holds, and whether it is of the usual size; None where all are alike. Asked again for every figure."""
    items, paddings = (seen.tokens_per_step or seen.samples_per_step)[skip:], seen.padding_per_step[skip:]
    if len(items) != num or len(paddings) != num or (len(set(items)) == 1 and len(set(paddings)) == 1):
        return None
    usual = of_usual_size(items, [held + (padding or 0) for held, padding in zip(items, paddings, strict=True)])
    return None if usual is None else (np.asarray(items), usual)
