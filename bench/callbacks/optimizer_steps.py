"""What the optimizers of the watched model do: steps that they take, and steps that a gradient scaler skips.

Torch tells every step of every optimizer (a hook before and one after it), whoever calls it: a loop, Lightning, accelerate, a scaler.
It has no hook for a scaler that leaves a step out, so the scaler's own method is watched as long as a training is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from bench.callbacks.guard import Guard
from bench.callbacks.methods import WatchedMethods

FIGURE = "num_optimizer_steps"
"""What is unavailable where these hooks fail."""


class Updates(NamedTuple):
    """What optimizers did in some time.

    Attributes:
        taken: steps of all optimizers; one that runs another's step inside its own is that one.
        skipped: steps that a scaler left out, since a gradient was no finite number.
        found_inf: of `taken`, for those of a fused optimizer that looks itself: above 0 on the device where it skipped.
    """

    taken: int = 0
    skipped: int = 0
    found_inf: tuple[torch.Tensor, ...] = ()

    def and_then(self, later: Updates) -> Updates:
        """Both together."""
        return Updates(self.taken + later.taken, self.skipped + later.skipped, self.found_inf + later.found_inf)


NO_UPDATES = Updates()


class OptimizerSteps:
    """Counts the steps of all optimizers that hold a parameter of the model, between `watch` and `leave`.

    Attributes:
        num_new: taken or skipped since they were last taken away.
        num_stepped: steps that came to their end, in all.
        is_seen: whether there ever was one, taken or skipped.
    """

    def __init__(self, model: nn.Module, guard: Guard) -> None:
        self._model, self._guard = model, guard
        self._handles: list[Any] = []
        self._known: WeakKeyDictionary[Any, tuple[int, bool]] = WeakKeyDictionary()
        self._is_begun = False
        self._new = NO_UPDATES
        self.num_new = self.num_stepped = 0
        self.is_seen = False

    @property
    def failed(self) -> bool:
        """Whether the hooks failed, so that nothing more is known."""
        return FIGURE in self._guard.failed

    def watch(self) -> None:
        """Be told of steps, until `leave`."""
        if not self._handles:
            self._handles = [register_optimizer_step_pre_hook(self._before), register_optimizer_step_post_hook(self._after)]
            _listen(self)

    def leave(self) -> None:
        """Be told of no more."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._is_begun = [], False
        _forget(self)

    def take(self) -> Updates:
        """What was done since the last call."""
        if not self.num_new:
            return NO_UPDATES
        new, self._new, self.num_new = self._new, NO_UPDATES, 0
        return new

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():  # so that a compiler that traces this finds nothing
            self._is_begun = True

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():
            self._guard(FIGURE, self._ended, optimizer)

    def _ended(self, optimizer: Any) -> None:
        if not (self._is_begun and self._holds_a_parameter(optimizer)):  # not begun: it has run the one that has just ended
            return
        self._is_begun = False
        self.num_stepped += 1
        found = getattr(optimizer, "found_inf", None)
        self._add(Updates(taken=1, found_inf=(found,) if isinstance(found, torch.Tensor) else ()))

    def scaled(self, optimizer: Any, num_stepped: int) -> None:
        """A scaler is through with a step of an optimizer, before which so many had been counted."""
        if self.num_stepped == num_stepped:
            self._guard(FIGURE, self._skipped, optimizer)

    def _skipped(self, optimizer: Any) -> None:
        if self._holds_a_parameter(optimizer):
            self._add(Updates(skipped=1))

    def _add(self, update: Updates) -> None:
        self._new = self._new.and_then(update) if self.num_new else update
        self.num_new += 1
        self.is_seen = True

    def _holds_a_parameter(self, optimizer: Any) -> bool:
        groups = optimizer.param_groups
        num_groups, holds = self._known.get(optimizer, (-1, False))
        if num_groups != len(groups):
            own = {id(parameter) for parameter in self._model.parameters()}
            holds = any(id(parameter) in own for group in groups for parameter in group["params"])
            self._known[optimizer] = len(groups), holds
        return holds


_listeners: list[OptimizerSteps] = []
_scaler = WatchedMethods()


def _listen(steps: OptimizerSteps) -> None:
    if not _listeners:
        _scaler.watch(torch.amp.GradScaler, "step", _told)
    _listeners.append(steps)


def _forget(steps: OptimizerSteps) -> None:
    if steps in _listeners:
        _listeners.remove(steps)
    if not _listeners:
        _scaler.put_back()


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        before = [(steps, steps.num_stepped) for steps in _listeners]
        returned = method(scaler, optimizer, *args, **kwargs)
        for steps, num_stepped in before:
            steps.scaled(optimizer, num_stepped)
        return returned

    return step
