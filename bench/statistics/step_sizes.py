"""Steps of a watched training that differ in size: no middle one stands for them, so that a rate is their sum over their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    if seen is None:
        return None
    items, skip = seen.tokens_per_step or seen.samples_per_step, len(phase.warmup_s)
    if len(items) != skip + len(phase.samples_s):
        return None
    positions = [held + (padding or 0) for held, padding in zip(items[skip:], seen.padding_per_step[skip:], strict=False)]
    usual = of_usual_size(items[skip:], positions)
    return None if usual is None else UnlikeSteps(np.asarray(phase.samples_s), np.asarray(items[skip:]), usual)
