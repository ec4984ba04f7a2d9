"""What Lightning's Trainer does around a callback of it, by the actions that it tells its profiler: loading, moving, running a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.callbacks.guard import Guard, event
from bench.callbacks.methods import WatchedMethods
from bench.callbacks.open_step import Mark
from bench.callbacks.watcher import Watch

LOADING, MOVING, RUNNING = ".train_dataloader_next", ".batch_to_device", "run_training_batch"
"""Ends of the names of actions: a batch is waited for, goes to the device, goes through training_step and the optimizer."""

CALLBACK = "[Callback]"
"""Begin of the names of a callback's actions, some of which lie inside RUNNING."""


class LightningLoop:
    """Marks the batches of a Trainer at their true ends, whatever other callbacks there are and wherever they stand in the list.

    Only the time inside the loader's `next` is a wait for data. What a batch takes on its way to the device and in
    run_training_batch is training; all else is the time of others, such as a ModelCheckpoint, which is always called last.
    A Trainer without such actions is timed by the events of the callback.
    """

    def __init__(self, trainer: Any, watch: Watch, guard: Guard) -> None:
        self._watch: Watch | None = watch
        self._guard = guard
        self._wait_s, self._asked_s, self._runs = 0.0, 0.0, False
        self._begun: Mark | None = None
        self._left: Mark | None = None
        self._methods = WatchedMethods()
        profiler = getattr(trainer, "profiler", None)
        starts = self._methods.watch(profiler, "start", lambda method: self._told(method, self._started))
        self._sees_actions = starts and self._methods.watch(profiler, "stop", lambda method: self._told(method, self._stopped))

    @staticmethod
    def _told(method: Callable[..., Any], tell: Callable[[str], None]) -> Callable[..., Any]:
        def start_or_stop(action_name: str, *args: Any, **kwargs: Any) -> Any:
            tell(action_name)
            return method(action_name, *args, **kwargs)

        return start_or_stop

    @event
    def _started(self, action: str) -> None:
        if self._watch is None:
            return
        if action.endswith(LOADING):
            self._asked_s = time.perf_counter()
        elif action.endswith(MOVING) and not self._watch.state.log.is_open:
            self._begun = self._watch.state.log.mark()
        elif action.endswith((MOVING, RUNNING)):
            self._runs = action.endswith(RUNNING)
            self._watch.state.log.enter()
        elif self._runs and action.startswith(CALLBACK):
            self._watch.state.log.leave()

    @event
    def _stopped(self, action: str) -> None:
        if self._watch is None:
            return
        if action.endswith(LOADING):
            self._waited(time.perf_counter() - self._asked_s)
        elif action.endswith(MOVING) and not self._watch.state.log.is_open:
            self._left = self._watch.state.log.mark()
        elif action.endswith((MOVING, RUNNING)):
            self._runs = False
            self._watch.state.log.leave()
        elif self._runs and action.startswith(CALLBACK):
            self._watch.state.log.enter()

    def _waited(self, seconds: float) -> None:
        if self._watch is not None and self._watch.state.log.is_open:
            self._watch.state.log.wait(seconds)
        else:
            self._wait_s += seconds

    def begin(self, batch: Any) -> None:
        """A batch is in hand, and its way to the device is behind it."""
        if self._watch is None:
            return
        if not self._sees_actions:
            self._watch.begin(batch)
            return
        begins = not self._watch.state.log.is_open
        self._watch.begin(batch, wait_s=self._wait_s, at=self._begun)
        if begins:
            self._watch.state.log.leave(self._left)
        self._wait_s, self._begun, self._left = 0.0, None, None

    def stop(self) -> None:
        """Watch no more."""
        self._watch = None
        self._methods.put_back()
