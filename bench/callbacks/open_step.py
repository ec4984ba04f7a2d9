"""A step that is under way, as it is marked: nothing of it has been read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.callbacks.batches import BatchSize
from bench.callbacks.passes import Passes

Mark = tuple[float, Any]
"""A point in time: the host's clock, and on CUDA an event in the queue."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A span inside a step that was no training: waits in it are counted as such, `others_s` of the rest was not ours."""

    begun: Mark
    ended: Mark
    wait_s: float
    others_s: float


class OpenStep:
    """A step that has not ended, or whose device has not."""

    __slots__ = ("after_s", "asides", "before_s", "begun", "ended", "inner_wait_s", "losses", "parts", "passes", "sizes", "wait_s")

    def __init__(self, begun: Mark, wait_s: float, before_s: float) -> None:
        self.begun, self.wait_s, self.before_s = begun, wait_s, before_s
        self.after_s = self.inner_wait_s = 0.0
        self.ended: Mark | None = None
        self.passes: Passes | None = None
        self.asides: list[Aside] = []
        self.sizes: list[BatchSize] = []
        self.losses: list[tuple[Any, int]] = []
        self.parts: list[tuple[Any, int]] = []

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and length of every batch; empty where the size of one is not known."""
        return () if self.unsized else tuple([(size.rows, size.length) for size in self.sizes])

    @property
    def unsized(self) -> str:
        """Why the size of a batch is not known; empty where all are."""
        for size in self.sizes:
            if size.unknown:
                return size.unknown
        return "" if self.sizes else "no batch was seen"
