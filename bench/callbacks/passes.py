"""The forward and backward passes of the step that is open, counted by kind as they happen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, Protocol

from torch import nn

from bench.callbacks.given import Documents
from estimators.errors import UnavailableError

StepFunction = Callable[[nn.Module, Any], Any]
"""One batch through a network, for the loss or the losses that are trained; or with its own backward passes, for None."""

MAX_KINDS = 10_000
"""Kinds of pass that are told apart."""


class Forward(NamedTuple):
    """One call of a module, before it computes.

    Attributes:
        module: whose call.
        args, kwargs: as they were given.
        named: all of them by name.
        is_text: whether a decoder's op table is the whole of it.
        trains_all: whether every parameter needs a gradient.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: Mapping[str, Any]
    is_text: bool
    trains_all: bool


class Event(NamedTuple):
    """A pass that happened.

    Attributes:
        kind: forward, backward, or again: a forward pass inside a backward one, which recomputes.
        of: number of what was computed; see PassLedger.
        documents: packed in its rows; None where each row is one.
        outputs: of a backward pass, which of the tensors that forward returned it came from, where others have gradients of their own.
    """

    kind: str
    of: int
    documents: Documents | None
    outputs: tuple[int, ...] = ()


class Begun(Protocol):
    """A backward pass from some outputs of a forward pass: from which is known when it has ended."""

    @property
    def forward(self) -> Forward:
        """The forward pass before it."""

    def event(self) -> Event:
        """What happened."""


Passes = tuple[tuple[Event, int], ...]
"""Each with how often it happened in a step."""


class PassLedger:
    """Counts the passes of the step that is open.

    Args:
        learn: called with every kind of pass that was not seen before, before it computes, and its number.
        learn_outputs: called with a backward pass from some outputs alone, the first of its kind, and the forward pass before it.

    Attributes:
        num_seen: passes in all steps.
        by_function: whether a function tells the passes of a batch, and what is seen does not count.
        under_way: backward passes from some outputs, which are known when the step has ended; see settle.
        unknown: why the passes of some step cannot be told; empty where all can.
    """

    def __init__(self, learn: Callable[[int, Forward], None], learn_outputs: Callable[[Event, Forward], None]) -> None:
        self._learn, self._learn_outputs = learn, learn_outputs
        self._numbers: dict[Hashable, int] = {}
        self.under_way: list[Begun] = []
        self._outputs: set[tuple[int, tuple[int, ...]]] = set()
        self._events: dict[Event, int] = {}
        self._is_open, self._is_held = False, False
        self.num_seen = 0
        self.by_function = False
        self.unknown = ""

    @property
    def trains(self) -> bool:
        """Whether a pass is one of a step's: a step is open, and the training does not pause."""
        return self._is_open and not self._is_held

    @property
    def counts(self) -> bool:
        """Whether such a pass is counted, and not told by a function."""
        return self._is_open and not self._is_held and not self.by_function

    def open(self) -> None:
        """A step begins, or goes on."""
        self._is_open, self._is_held = True, False

    def hold(self) -> None:
        """What follows is no training."""
        self._is_held = True

    def resume(self) -> None:
        """The training goes on."""
        self._is_held = False

    def settle(self) -> None:
        """The step has ended, and with it what was under way."""
        for part in self.under_way:
            event = part.event()
            if event.outputs and (event.of, event.outputs) not in self._outputs:
                self._outputs.add((event.of, event.outputs))
                self._learn_outputs(event, part.forward)
            self.add(event)

    def close(self) -> Passes | None:
        """The step has ended: its passes; None where they cannot be told, or none was ever seen."""
        self.under_way.clear()
        passes, self._is_open = tuple(self._events.items()), False
        self._events.clear()
        return passes if self.num_seen and not self.unknown else None

    def known(self, look: Hashable) -> int | None:
        """The number of a kind of pass that was seen before."""
        return self._numbers.get(look)

    def number(self, look: Hashable, forward: Forward) -> int:
        """Of a kind of pass: equal numbers compute equally much. Raises UnavailableError."""
        number = self._numbers.get(look)
        if number is None:
            if len(self._numbers) >= MAX_KINDS:
                raise UnavailableError(f"more than {MAX_KINDS:,} kinds of forward pass")
            number = self._numbers[look] = len(self._numbers)
            self._learn(number, forward)
        return number

    def add(self, event: Event) -> None:
        """A pass happened."""
        self._events[event] = self._events.get(event, 0) + 1
        self.num_seen += 1

    def add_outputs(self, part: Begun) -> None:
        """A backward pass from some outputs has begun."""
        self.under_way.append(part)

    def cannot_tell(self, reason: str) -> None:
        """Passes happen that cannot be followed."""
        self.unknown = self.unknown or reason
