"""Backward passes of a forward pass whose outputs do not all come to the same parameters: from which of them is seen, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.callbacks.gradient_graph import Ends
from bench.callbacks.passes import Event, Forward


class FromOutputs:
    """The backward passes of one call.

    Args:
        whole: what a backward pass from all outputs is.
        given: the call.
        ends: of its outputs.
        places: of each output with a graph of its own, among all tensors that forward returned.
    """

    def __init__(self, whole: Event, given: Forward, ends: Ends, places: Sequence[int]) -> None:
        self.ends = ends
        self._whole, self._given, self._places = whole, given, places
        self._by_task: dict[int, BegunFrom] = {}

    def comes_to(self, number: int, task: int) -> BegunFrom | None:
        """A gradient comes to an output. Returns the backward pass where this is the first output that it comes to."""
        known = self._by_task.get(task)
        if known is not None:
            known.numbers.add(number)
            return None
        self._by_task[task] = begun = BegunFrom(self._given, self._whole, self.ends, self._places, {number})
        return begun


@dataclass(frozen=True)
class BegunFrom:
    """One of them.

    Attributes:
        forward: the call.
        numbers: of the outputs that a gradient has come to so far.
    """

    forward: Forward
    _whole: Event
    _ends: Ends
    _places: Sequence[int]
    numbers: set[int] = field(default_factory=set)

    def event(self) -> Event:
        """What has happened, once it has ended."""
        if self._ends.are_all(self.numbers):
            return self._whole
        return self._whole._replace(outputs=tuple(sorted(self._places[number] for number in self.numbers)))
