"""watch(): a plain loop over batches, with the meters around its body."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Generic, TypeVar

from torch import nn
from torch.utils.data import DataLoader

from bench.callbacks.batches import Size, size_of
from bench.callbacks.modules import label_use
from bench.callbacks.watcher import Watch
from estimators.errors import BadValueError

Batch = TypeVar("Batch")


class WatchedLoader(Generic[Batch]):
    """Batches of a loader, watched; see `watch`. May be gone through again, epoch after epoch, into the same record."""

    def __init__(self, loader: Iterable[Batch], watcher: Watch, steps: int | None) -> None:
        self._loader, self._watch, self._steps = loader, watcher, steps
        self._inside = False

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __enter__(self) -> WatchedLoader[Batch]:
        self._inside = True
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._watch.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Batch]:
        watch, batches, num_steps = self._watch, iter(self._loader), 0
        status, reason = "partial", "the loop was left before its end, by a break or an error"
        try:
            while self._steps is None or num_steps < self._steps:
                asked_s = time.perf_counter()
                try:
                    batch = next(batches)
                except StopIteration:
                    break
                watch.begin(batch, wait_s=time.perf_counter() - asked_s)
                yield batch
                watch.end()
                num_steps += 1
            watch.flush()
            status, reason = "complete", ""
        except KeyboardInterrupt:
            reason = "interrupted by the user"
            raise
        finally:
            if status != "complete":
                watch.drop()  # whether the body was through with its last batch is not known
            if not self._inside:  # else the block knows whether it was a break or an error
                watch.finish(status, reason)

    def loss(self, value: Any, *, part: bool = False) -> None:
        """The loss of the batch at hand, or the part of its step's loss that it is; see Watch.loss."""
        self._watch.loss(value, part=part)

    def pause(self) -> AbstractContextManager[None]:
        """Around what is not training, such as an evaluation; see Watch.pause."""
        return self._watch.pause()

    def figures(self) -> dict[str, float]:
        """Rates since the last call; see Watch.figures."""
        return self._watch.figures()


def watch(
    loader: Iterable[Batch],
    model: nn.Module,
    *,
    out: str | os.PathLike[str] = "runs",
    every: int = 50,
    steps: int | None = None,
    size: Size | None = None,
    **options: Any,
) -> WatchedLoader[Batch]:
    """The loader's batches, one by one; each pass of the body is timed as a training step.

    Prints a line every so many steps on stderr and writes the record that `run` writes when the loop ends. A loop that
    is left early leaves a partial record; in a `with` block it is known whether it was a `break`, and then the record is complete:

        with watch(loader, model) as batches:
            for batch in batches:
                loss = model(**batch).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                batches.loss(loss)

    Args:
        loader: anything that gives batches; the time that it takes is the data wait.
        model: the network that is trained.
        out, every: folder of records; steps between two lines.
        steps: batches at most; None goes through the loader.
        size: from a batch to its size, where `size_of` cannot tell; see Watch.
        options: of Watch: accelerator, name, dtype, optimizer, accumulate, inputs, forward, ceilings.

    Raises:
        BadValueError: an option out of its range.
        UnavailableError: the folder cannot be written.
    """
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise BadValueError(f"steps is {steps!r}; expected a whole number from 1, or None")
    if size is None and isinstance(loader, DataLoader):
        size = partial(size_of, use=label_use(model), one_loader=True)
    return WatchedLoader(loader, Watch(model, out=out, every=every, size=size, steps=steps, **options), steps)
