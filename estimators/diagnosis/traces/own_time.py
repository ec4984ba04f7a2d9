"""Operators on a processor call one another: which of them runs at each moment is the one that was called last."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np

from estimators.diagnosis.traces.spans import Gathered, Spans

_AT_ONCE = 2**16


class Calls:
    """Calls of one thread, in any order, 17 bytes each; of each its start, its end and its class."""

    def __init__(self) -> None:
        self._starts, self._ends, self._classes = array("d"), array("d"), array("B")

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: float, end: float, kind: int) -> None:
        """One more."""
        self._starts.append(start)
        self._ends.append(end)
        self._classes.append(kind)

    def own_time(self, into: Sequence[Gathered]) -> None:
        """Add the time in which each call runs, and none that it calls, to its class's spans.

        Args:
            into: by class.
        """
        calls: list[tuple[float, int]] = []  # open ones: end, class
        at = 0.0
        for start, end, kind in self._in_order():
            while calls and calls[-1][0] <= start:
                over, was = calls.pop()
                if over > at:
                    into[was].add(at, over)
                    at = over
            if calls and start > at:
                into[calls[-1][1]].add(at, start)
            at = max(at, start)
            calls.append((min(end, calls[-1][0]) if calls else end, kind))
        while calls:
            over, was = calls.pop()
            if over > at:
                into[was].add(at, over)
                at = over

    def _in_order(self) -> Iterator[tuple[float, float, int]]:
        """By start; of two that start together the longer first, which called the other."""
        starts, ends = np.frombuffer(self._starts), np.frombuffer(self._ends)
        order = np.lexsort((-ends, starts))
        kinds = np.frombuffer(self._classes, dtype=np.uint8)
        for first in range(0, len(order), _AT_ONCE):
            some = order[first : first + _AT_ONCE]
            yield from zip(starts[some].tolist(), ends[some].tolist(), kinds[some].tolist(), strict=True)


def own_time_of(threads: Sequence[Calls], num_classes: int) -> list[Spans]:
    """For each class the time in which a call of it runs on any thread."""
    gathered = [Gathered() for _ in range(num_classes)]
    for calls in threads:
        if len(calls):
            calls.own_time(gathered)
    return [each.union() for each in gathered]
