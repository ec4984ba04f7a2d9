"""`with watch.step(batch):` around the body of a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.callbacks.batches import BatchSize

if TYPE_CHECKING:
    from bench.callbacks.watcher import Watch


class StepBlock:
    """One batch of a watched training: begun when the block is entered, ended when it is left, dropped where it raises.

    Args:
        size: tells how large the batch is; None reads it from the batch.
    """

    __slots__ = ("_batch", "_size", "_watch")

    def __init__(self, watch: Watch, batch: Any, size: Callable[[Any], BatchSize] | None) -> None:
        self._watch, self._batch, self._size = watch, batch, size

    def __enter__(self) -> None:
        batch, self._batch = self._batch, None  # not held while the step runs
        self._watch.begin(batch, self._size)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self._watch.end()
        else:
            self._watch.drop()
