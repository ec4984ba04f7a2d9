"""A step as its marks were taken, before the device has finished it and its numbers are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.callbacks.batches import BatchSize
from bench.callbacks.optimizer_steps import NO_UPDATES, Updates
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


@dataclass(slots=True)
class OpenStep:
    """A step that has not ended, or that has not been read; `is_held`: it may be a part of a later one."""

    begun: Mark
    wait_s: float
    before_s: float = 0.0
    after_s: float = 0.0
    inner_wait_s: float = 0.0
    ended: Mark | None = None
    asides: list[Aside] = field(default_factory=list)
    sizes: list[BatchSize] = field(default_factory=list)
    losses: list[tuple[Any, int]] = field(default_factory=list)
    parts: list[tuple[Any, int]] = field(default_factory=list)
    passes: Passes | None = None
    updates: Updates = NO_UPDATES
    batch_ended: Mark | None = None
    is_held: bool = False

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


def joined(earlier: OpenStep, later: OpenStep) -> OpenStep:
    """Two steps, one after the other, as one; what was between them is no training."""
    assert earlier.ended is not None
    between = Aside(earlier.ended, later.begun, later.wait_s, later.before_s + earlier.after_s)
    passes = None if earlier.passes is None or later.passes is None else Counter(dict(earlier.passes)) + Counter(dict(later.passes))
    return OpenStep(
        begun=earlier.begun,
        wait_s=earlier.wait_s,
        before_s=earlier.before_s,
        after_s=later.after_s,
        inner_wait_s=earlier.inner_wait_s + later.wait_s + later.inner_wait_s,
        ended=later.ended,
        asides=[*earlier.asides, between, *later.asides],
        sizes=[*earlier.sizes, *later.sizes],
        losses=[*earlier.losses, *later.losses],
        parts=[*earlier.parts, *later.parts],
        passes=None if passes is None else tuple(passes.items()),
        updates=earlier.updates.and_then(later.updates),
    )
