"""`with watch.step(batch):` around the body of a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bench.callbacks.batches import BatchSize


class Watched(Protocol):
    """What is told of batches; Watch is."""

    def begin(self, batch: Any, size: Callable[[Any], BatchSize] | None) -> None:
        """A batch is in hand."""

    def end(self) -> object:
        """It is done."""

    def drop(self) -> None:
        """It was broken off."""


class StepBlock:
    """One batch of a watched training: begun when the block is entered, ended when it is left, dropped where it raises.

    Args:
        size: tells how large the batch is; None reads it from the batch.
    """

    __slots__ = ("_batch", "_size", "_watched")

    def __init__(self, watched: Watched, batch: Any, size: Callable[[Any], BatchSize] | None) -> None:
        self._watched, self._batch, self._size = watched, batch, size

    def __enter__(self) -> None:
        batch, self._batch = self._batch, None  # not held while the step runs
        self._watched.begin(batch, self._size)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self._watched.end()
        else:
            self._watched.drop()
