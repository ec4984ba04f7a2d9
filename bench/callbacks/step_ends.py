"""Which batch ends a step: as it was told, as accelerate says, or by what the optimizers of the model are seen to do."""

from __future__ import annotations

import time
from typing import Any

from bench.callbacks.optimizer_steps import OptimizerSteps
from bench.callbacks.steps import StepLog

MAX_HELD, MAX_HELD_S = 64, 60.0
"""Batches, and the time, until a loop in which no optimizer has stepped is taken for one whose optimizer is not seen."""

MAX_ACCUMULATED = 1024
"""Batches of one step that no optimizer ends."""


class StepEnds:
    """Of the steps of one loop.

    Where nobody tells how many batches are accumulated, a step ends with the batch in which an optimizer steps, or a scaler
    skips its step. Batches before the first such are held, to be one step with it; where none comes, each was a step.

    Args:
        accumulate: batches of a step; None is the accelerator's word, else what is seen.
        accelerator: accelerate's, or None.
    """

    def __init__(self, accumulate: int | None, accelerator: Any, updates: OptimizerSteps, log: StepLog) -> None:
        self._accumulate, self._accelerator = accumulate, accelerator
        self._updates, self._log = updates, log
        self._since_s, self._gave_up = time.monotonic(), False

    @property
    def num_told(self) -> int:
        """Batches of a step, unless the data end; 1 where nobody tells."""
        return self._accumulate or int(getattr(self._accelerator, "gradient_accumulation_steps", 1))

    @property
    def are_seen(self) -> bool:
        """Whether they are by what optimizers do."""
        return self._accumulate is None and self._accelerator is None and not self._updates.failed

    def here(self) -> bool:
        """Whether the step ends with the batch that is done."""
        if self._accumulate is None and self._accelerator is not None:
            return bool(self._accelerator.sync_gradients)
        if not self.are_seen:
            return self._log.num_open_batches >= self.num_told
        return bool(self._updates.num_new) or not self._updates.is_seen or self._log.num_open_batches >= MAX_ACCUMULATED

    def was_before(self) -> bool:
        """Optimizers have stepped after the last batch: whether its step is still open, and ends with it; else it is noted of that step."""
        if not self._log.is_open:
            self._log.updated(self._updates.take())
            return False
        return self.are_seen

    def settle_held(self) -> bool:
        """What was held is one step where an optimizer is seen now, and then true; each is its own where none will be."""
        if self._updates.is_seen:
            self._log.join_held()
        elif not self.hold():
            self._log.release_held()
            self._gave_up = True
        return self._updates.is_seen

    def hold(self) -> bool:
        """Whether the step that ends is to be held, since a later one may be its end."""
        if self._updates.is_seen or self._gave_up or not self.are_seen:
            return False
        return self._log.num_held < MAX_HELD and time.monotonic() - self._since_s < MAX_HELD_S
