"""SixndCallback: the meters inside transformers' Trainer."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.callbacks.batches import Size
from bench.callbacks.copies import CopiesWatchNothing
from bench.callbacks.guard import Guard, event
from bench.callbacks.modules import bare
from bench.callbacks.options import expect_options
from bench.callbacks.passes import StepFunction
from bench.callbacks.trainer_loop import TrainerLoop, trainer_of
from bench.callbacks.watcher import Watch
from bench.records.record import Ceiling

_IN_A_COPY: dict[str, Any] = {"_watch": None, "_loop": None, "_seen": [], "_is_part": False, "_batch_rows": 0}


class SixndCallback(CopiesWatchNothing, TrainerCallback, keeps=("_options",), begins=_IN_A_COPY):
    """Watches a Trainer and leaves the record that `run` writes.

        Trainer(model, args, train_dataset=data, callbacks=[SixndCallback()]).train()

    A step is one of the optimizer, whatever the gradient accumulation, from the batches in hand to its end. Data wait is
    the time inside the loader's `next`; what logging, evaluation, saving and other callbacks take, before or after this one
    in the list, is a figure of its own. Tokens are those that forward was given; the loss is the one that the Trainer
    accumulates, before it hides what is not a number. Every log gains tokens_per_s,
    data_wait_fraction, mfu_fraction and the like (bench.callbacks.rates.NAMES), on several ranks those of the main one.
    Reporters that the Trainer calls before this callback do not see them; `attach` puts it first.

    A training that an error or Ctrl-C breaks off has no last event: its partial record is written when the process ends
    or another training begins, or by `break_off`.

    Args:
        out: folder of records.
        every: steps between two lines on stderr; 0 prints none, since the Trainer prints its logs.
        name: of the model in the record.
        inputs, forward, ceilings: see Watch.
        size: see Watch; the batch is what forward was given, by name, and so it is for `forward`.

    Raises:
        BadValueError: an option out of its range.
        UnavailableError: the folder cannot be written.
    """

    def __init__(
        self,
        *,
        out: str | os.PathLike[str] = "runs",
        every: int = 0,
        name: str | None = None,
        inputs: Any = None,
        forward: StepFunction | None = None,
        size: Size | None = None,
        ceilings: bool | Sequence[Ceiling] = True,
    ) -> None:
        expect_options(out, every=every, inputs=inputs)
        self._options: dict[str, Any] = {"out": out, "every": every, "name": name, "forward": forward, "size": size, "ceilings": ceilings}
        self._guard = Guard()
        self._watch: Watch | None = None
        self._loop: TrainerLoop | None = None
        self._seen: list[weakref.ref[torch.Tensor]] = []
        self._is_part = False
        self._batch_rows = 0

    def attach(self, trainer: Any) -> None:
        """Put this callback before all others of a Trainer, so that every reporter sees what it adds to the logs."""
        trainer.remove_callback(self)
        trainer.callback_handler.callbacks.insert(0, self)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Begin a record: of a training, or of the same one whose batches were too large and which begins anew with smaller ones."""
        rows = self._batch_rows
        before = self._leave() if self._guard.attempt("looking at the batch size", self._is_smaller_now, args, state) else None
        self.break_off()
        self._guard = Guard()
        self._begin(args, kwargs["model"], kwargs.get("optimizer"))
        if before is not None and self._watch is not None:
            before.begin_anew(self._watch, f"a batch of {rows} rows was too large")

    def _is_smaller_now(self, args: TrainingArguments, state: TrainerState) -> bool:
        before, self._batch_rows = self._batch_rows, getattr(state, "train_batch_size", None) or 0
        return bool(args.auto_find_batch_size) and self._batch_rows < before

    @event
    def _begin(self, args: TrainingArguments, wrapped: nn.Module, optimizer: Any) -> None:
        model, named = bare(wrapped), type(optimizer).__name__
        self._watch = Watch(
            model,
            dtype="bf16" if args.bf16 else "fp16" if args.fp16 else None,
            optimizer="adamw" if args.optim in ("adamw_torch", "adamw_torch_fused") or named in ("AdamW", "Adam") else None,
            accumulate=args.gradient_accumulation_steps,
            steps=args.max_steps if args.max_steps > 0 else None,
            guard=self._guard,
            compiled=bool(args.torch_compile),
            **self._options,
        )
        self._watch.state.see_passes(see_batch=self._see_batch, see_output=self._see_output, compiled=bool(args.torch_compile))
        self._loop = self._guard("times of others", self._watched_loop, self._watch)
        atexit.register(self.break_off)

    def _watched_loop(self, watch: Watch) -> TrainerLoop | None:
        trainer = trainer_of(self)
        return None if trainer is None else TrainerLoop(trainer, watch, self._guard)

    @event
    def _see_batch(self, batch: dict[str, Any]) -> None:
        self._is_part = batch.get("num_items_in_batch") is not None
        if self._watch is not None and not self._is_seen(batch):
            self._watch.begin(batch, wait_s=0.0)

    def _is_seen(self, batch: dict[str, Any]) -> bool:
        """Whether a pass is given what another one of this step was given: the same batch again."""
        tensors = [value for value in batch.values() if isinstance(value, torch.Tensor)]
        first = batch.get("input_ids", tensors[0] if tensors else None)
        if not isinstance(first, torch.Tensor):
            return False
        if any(known() is first for known in self._seen):
            return True
        self._seen.append(weakref.ref(first))
        return False

    @event
    def _see_output(self, output: Any) -> None:
        if self._watch is not None and not (self._loop is not None and self._loop.sees_losses):
            loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
            if loss is not None:
                self._watch.loss(loss, part=self._is_part)

    @event
    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The batches of an optimizer step are in hand."""
        if self._watch is not None:
            self._seen.clear()
            if not self._marks_steps():
                self._watch.arrived()

    @event
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The optimizer has stepped."""
        if self._watch is not None and not self._marks_steps():
            self._watch.end(last=True)

    def _marks_steps(self) -> bool:
        return self._loop is not None and self._loop.sees_events

    @event
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Add the rates since the last log, here and in the Trainer's own history."""
        if self._watch is not None and logs is not None and "loss" in logs:
            self._guard("rates in the logs", self._add_to, logs, state, self._watch.figures())
        self._resume()

    def _add_to(self, logs: dict[str, Any], state: TrainerState, figures: dict[str, float]) -> None:
        logs.update(figures)
        if state.log_history:
            state.log_history[-1].update(figures)

    @event
    def on_prediction_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An evaluation is no training."""
        if self._watch is not None:
            self._watch.hold()

    @event
    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The evaluation is over."""
        self._resume()

    @event
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint has been written."""
        self._resume()

    @event
    def _resume(self) -> None:
        if self._watch is not None:
            self._watch.resume()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the record."""
        self._finish("complete", "")

    def break_off(self) -> None:
        """Write the partial record of a training that has not come to its end; nothing where it has."""
        self._finish("partial", "the training was broken off by an error or by the user")

    def _leave(self) -> Watch | None:
        """See no more of the training; what has watched it."""
        watch, self._watch = self._watch, None
        if self._loop is not None:
            self._guard.attempt("putting the Trainer's methods back", self._loop.stop)
            self._loop = None
        atexit.unregister(self.break_off)
        return watch

    def _finish(self, status: str, reason: str) -> None:
        watch = self._leave()
        if watch is not None:
            self._guard.attempt("writing the record", lambda: watch.finish(status, reason))
