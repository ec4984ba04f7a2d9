"""The meters inside Lightning's Trainer. Lightning is not needed before a callback is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from typing import Any

from torch import nn

from bench.callbacks.batches import BatchSize, Size, size_by_loader, size_of
from bench.callbacks.copies import CopiesWatchNothing
from bench.callbacks.guard import Guard, event
from bench.callbacks.lightning_loop import LightningLoop
from bench.callbacks.modules import label_use
from bench.callbacks.options import expect_options
from bench.callbacks.passes import StepFunction
from bench.callbacks.watcher import Watch
from bench.callbacks.writer import ending_of
from bench.records.record import Ceiling
from estimators.errors import UnavailableError

_DTYPES = {"bf16-mixed": "bf16", "16-mixed": "fp16", "bf16-true": "bf16", "16-true": "fp16", "64-true": "fp64"}
"""Lightning's precisions that are not the parameters' fp32."""


_OPTIONS = ("_options", "_network", "_every", "_size")


class LightningHooks(CopiesWatchNothing, keeps=_OPTIONS, begins={"_watch": None, "_loop": None, "_num_steps": 0}):
    """What Lightning calls, by Lightning's names; `lightning_callback` makes a Callback of it.

    A step is one of the optimizer, under manual optimization as it is seen: its batches on their way to the device and in
    training_step. Data wait is the time inside the loader's `next`; what validation, checkpoints and other callbacks take, before or
    after this one in the list, is a figure of its own. The loss is the one that training_step returned, before the Trainer divides it
    by the batches that it accumulates. Every `every` steps the rates go to the Trainer's loggers.

    Args:
        out, every, name, inputs, forward, size, ceilings: see Watch. Without `size`, the batches of several loaders at once are added.
        network: from the LightningModule to the network inside whose FLOP are counted and whose configuration is
            recorded; None takes the module itself.

    Raises:
        BadValueError: an option out of its range.
        UnavailableError: the folder cannot be written.
    """

    def __init__(
        self,
        *,
        out: str | os.PathLike[str] = "runs",
        every: int = 50,
        name: str | None = None,
        network: Callable[[Any], nn.Module] | None = None,
        inputs: Any = None,
        forward: StepFunction | None = None,
        size: Size | None = None,
        ceilings: bool | Sequence[Ceiling] = True,
    ) -> None:
        super().__init__()
        expect_options(out, every=every, inputs=inputs)
        self._guard = Guard()
        self._options: dict[str, Any] = {
            "out": out,
            "every": every,
            "name": name,
            "forward": forward,
            "ceilings": ceilings,
        }
        self._network, self._every, self._size = network, every, size
        self._watch: Watch | None = None
        self._loop: LightningLoop | None = None
        self._num_steps = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a record."""
        self._watch, self._guard = None, Guard()
        self._begin(trainer, pl_module)

    @event
    def _begin(self, trainer: Any, pl_module: Any) -> None:
        network = self._network(pl_module) if self._network else pl_module
        self._watch = Watch(
            network,
            dtype=_DTYPES.get(str(getattr(trainer, "precision", ""))),
            accumulate=trainer.accumulate_grad_batches if _steps_by_itself(pl_module) else None,
            steps=_asked_steps(trainer),
            size=self._size or partial(_size_of_loaders(trainer), use=label_use(network)),
            guard=self._guard,
            **self._options,
        )
        self._loop = self._guard("times of others", LightningLoop, trainer, self._watch, self._guard)
        self._num_steps = 0

    @event
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """A batch is in hand."""
        if self._watch is not None:
            (self._loop or self._watch).begin(batch)

    @event
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The batch is done, and where gradients are not accumulated the optimizer has stepped."""
        if self._watch is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self._watch.loss(loss, times=trainer.accumulate_grad_batches if _steps_by_itself(pl_module) else 1)
        full = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or bool(getattr(trainer, "is_last_batch", False))
        last = bool(self._watch.end(last=full if _steps_by_itself(pl_module) else None))
        self._num_steps += last
        if last and self._every and self._num_steps % self._every == 0:
            self._guard("rates in the logs", self._log, trainer, self._watch.figures())
            self._watch.resume()

    def _log(self, trainer: Any, figures: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)

    @event
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """A validation is no training."""
        if self._watch is not None:
            self._watch.hold()

    @event
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """The validation is over."""
        if self._watch is not None:
            self._watch.resume()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the record."""
        self._finish("complete", "")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write the record of a training that broke off."""
        self._finish(*ending_of(exception))

    def _finish(self, status: str, reason: str) -> None:
        watch, self._watch = self._watch, None
        if self._loop is not None:
            self._guard.attempt("putting the profiler's methods back", self._loop.stop)
            self._loop = None
        if watch is not None:
            self._guard.attempt("writing the record", lambda: watch.finish(status, reason))


def _steps_by_itself(pl_module: Any) -> bool:
    """Whether Lightning steps the optimizers, and not the module in its own training_step."""
    return bool(getattr(pl_module, "automatic_optimization", True))


def _asked_steps(trainer: Any) -> int | None:
    asked = getattr(trainer, "max_steps", -1)
    return asked if isinstance(asked, int) and asked > 0 else None


def _size_of_loaders(trainer: Any) -> Callable[..., BatchSize]:
    """How a Trainer's batches are sized: each part as one of another loader's, where it draws from several at once."""
    several = isinstance(getattr(trainer, "train_dataloader", None), Mapping | list | tuple)
    return size_by_loader if several else partial(size_of, one_loader=True)


def lightning_callback(**options: Any) -> Any:
    """A Callback for `Trainer(callbacks=[...])` of lightning or pytorch_lightning; for the options see LightningHooks.

    Raises:
        UnavailableError: neither is installed.
    """
    return _callback_class()(**options)


@cache
def _callback_class() -> Any:
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            base = import_module(package).Callback
        except ImportError:
            continue
        # a class that is made here has no name by which a process that Lightning spawns could find it
        return type("SixndLightningCallback", (LightningHooks, base), {"__reduce__": lambda self: (_unmade, (), self.__getstate__())})
    raise UnavailableError("Lightning is not installed; install it with: pip install lightning")


def _unmade() -> Any:
    made = _callback_class()
    return made.__new__(made)
