"""What a Trainer does around a callback of it: the batches it waits for, the losses it trains on, the events it gives to others."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from bench.callbacks.guard import Guard, event
from bench.callbacks.methods import WatchedMethods
from bench.callbacks.open_step import Mark
from bench.callbacks.watcher import Watch


def trainer_of(callback: TrainerCallback) -> Any:
    """The Trainer that is calling an event of the callback, seen from inside that event; None where nobody's loop is found.

    An event is given the model, the optimizer and the loader, but not who calls it: that is read off the frames.
    """
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        handler = getattr(owner, "callback_handler", None)
        if isinstance(handler, CallbackHandler) and any(one is callback for one in handler.callbacks):
            return owner
        frame = frame.f_back  # type: ignore[assignment]
    return None


class _TimedBatches:
    """An iterator of batches that tells the time of each next one."""

    def __init__(self, batches: Iterator[Any], waited: Callable[[float], None]) -> None:
        self._batches, self._waited = batches, waited

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        asked_s = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self._waited(time.perf_counter() - asked_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


class TrainerLoop:
    """Marks the steps of a Trainer at their true ends, whatever other callbacks there are and wherever they stand in the list.

    A step begins when its last batch has come and ends before anybody is told that it has ended. Only the time inside the
    loader's `next` is a wait for data; events that are given to callbacks inside a step are no part of it. The loss is what
    each training step returned, which is what the Trainer adds up and logs.

    Attributes:
        sees_waits, sees_losses, sees_events: what this Trainer lets be watched.
    """

    def __init__(self, trainer: Any, watch: Watch, guard: Guard) -> None:
        self._watch: Watch | None = watch
        self._guard = guard
        self._wait_s, self._depth = 0.0, 0
        self._came: Mark | None = None
        self._methods = WatchedMethods()
        self.sees_waits = self._methods.watch(trainer, "get_batch_samples", self._timed_batches)
        self.sees_losses = self._methods.watch(trainer, "training_step", self._seen_loss)
        handler = getattr(trainer, "callback_handler", None)
        self.sees_events = self.sees_waits and self._methods.watch(handler, "call_event", self._timed_event)

    def _timed_batches(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def get_batch_samples(epoch_iterator: Iterator[Any], *args: Any, **kwargs: Any) -> Any:
            return method(_TimedBatches(epoch_iterator, self._waited), *args, **kwargs)

        return get_batch_samples

    @event
    def _waited(self, seconds: float) -> None:
        self._wait_s += seconds
        if self._watch is not None:
            self._came = self._watch.state.log.mark()

    def _seen_loss(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def training_step(*args: Any, **kwargs: Any) -> Any:
            loss = method(*args, **kwargs)
            self._see(loss)
            return loss

        return training_step

    @event
    def _see(self, loss: Any) -> None:
        if self._watch is not None:
            self._watch.loss(loss, part=True)

    def _timed_event(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call_event(name: str, *args: Any, **kwargs: Any) -> Any:
            self._before(name)
            try:
                return method(name, *args, **kwargs)
            finally:
                self._after()

        return call_event

    @event
    def _before(self, name: str) -> None:
        self._depth += 1
        if self._watch is None or self._depth > 1:
            return
        if name == "on_step_end":
            self._watch.end(last=True)
        elif name == "on_step_begin":
            self._watch.arrived(self._wait_s, self._came)
            self._wait_s, self._came = 0.0, None
        self._watch.state.log.leave()

    @event
    def _after(self) -> None:
        self._depth -= 1
        if self._watch is not None and self._depth == 0:
            self._watch.state.log.enter()

    def stop(self) -> None:
        """Watch no more."""
        self._watch = None
        self._methods.put_back()
