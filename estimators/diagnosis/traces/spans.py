"""Spans of time that do not overlap, as arrays: their union, what two share, and what one has beyond another."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Spans = npt.NDArray[np.float64]
"""Rows of start and end, shape (n, 2), in microseconds, rising, none touching the next."""

MICROSECONDS = 1e6
"""Of a second: the unit of a trace."""

NONE: Spans = np.empty((0, 2))


class Gathered:
    """Spans as they are read, in any order, 16 bytes each."""

    def __init__(self) -> None:
        self._ends = array("d")

    def __len__(self) -> int:
        return len(self._ends) // 2

    def add(self, start: float, end: float) -> None:
        """One more."""
        self._ends.append(start)
        self._ends.append(end)

    def each(self) -> Spans:
        """All of them as they were added."""
        return np.array(self._ends).reshape(-1, 2)

    def union(self) -> Spans:
        """All of them, those that overlap or touch as one."""
        return union([self.each()])


def union(several: Sequence[Spans]) -> Spans:
    """What lies in any of them, which may overlap and be in any order.

    >>> union([np.array([[5.0, 9.0], [0.0, 2.0]]), np.array([[1.0, 3.0]])]).tolist()
    [[0.0, 3.0], [5.0, 9.0]]
    """
    every = np.concatenate([NONE, *several])
    every = every[every[:, 1] > every[:, 0]]
    if not len(every):
        return NONE
    every = every[np.argsort(every[:, 0], kind="stable")]
    reached = np.maximum.accumulate(every[:, 1])
    begins = np.concatenate([[True], every[1:, 0] > reached[:-1]])
    return np.column_stack([every[begins, 0], reached[np.concatenate([begins[1:], [True]])]])


def without(spans: Spans, other: Spans) -> Spans:
    """What lies in the first and not in the second.

    >>> without(np.array([[0.0, 10.0]]), np.array([[2.0, 3.0], [9.0, 12.0]])).tolist()
    [[0.0, 2.0], [3.0, 9.0]]
    """
    return both(spans, _beside(other))


def both(spans: Spans, other: Spans) -> Spans:
    """What lies in both: beside what lies beside either.

    >>> both(np.array([[0.0, 4.0], [6.0, 9.0]]), np.array([[3.0, 7.0]])).tolist()
    [[3.0, 4.0], [6.0, 7.0]]
    """
    return _beside(union([_beside(spans), _beside(other)]))


def seconds(spans: Spans) -> float:
    """What they take together."""
    return float((spans[:, 1] - spans[:, 0]).sum()) / MICROSECONDS


def _beside(spans: Spans) -> Spans:
    """All time that lies in none of them."""
    if not len(spans):
        return np.array([[-np.inf, np.inf]])
    found = np.column_stack([np.concatenate([[-np.inf], spans[:, 1]]), np.concatenate([spans[:, 0], [np.inf]])])
    return found[found[:, 1] > found[:, 0]]
