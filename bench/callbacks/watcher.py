"""Watch: the meters around the steps of the user's training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bench.backend import device as devices
from bench.callbacks import kept_on_signal
from bench.callbacks.batches import BatchSize, Size, given_size, size_of, told_size, unknown_size
from bench.callbacks.between_steps import BetweenSteps
from bench.callbacks.console import Console
from bench.callbacks.context import TrainingContext
from bench.callbacks.copies import CopiesWatchNothing
from bench.callbacks.guard import SIZE, Guard, event
from bench.callbacks.loss_parts import was_divided
from bench.callbacks.modules import label_use
from bench.callbacks.open_step import Mark
from bench.callbacks.options import device_of, expect_options
from bench.callbacks.pass_hooks import FIGURE
from bench.callbacks.passes import StepFunction
from bench.callbacks.proof import scalar_loss
from bench.callbacks.rank_state import RankState
from bench.callbacks.step_block import StepBlock
from bench.callbacks.step_ends import StepEnds
from bench.callbacks.writer import Writer, ending_of
from bench.records.record import Ceiling, Measurement


class Watch(CopiesWatchNothing, begins={"_writer": None, "_has_begun": True, "_is_kept": False}):
    """Times, counts and weighs the steps of a training that is not ours, and writes the record that `run` writes.

    The loop is not changed and its device is not waited for. From the first step on nothing of ours raises into it: a figure that
    fails is unavailable, and the record says why. Before the second step this machine's ceilings are measured, for about two seconds.

        with Watch(model, accelerator) as w:
            for batch in loader:
                with w.step(batch):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    w.loss(loss)

    On several ranks every rank watches and leaves the block; the main one prints and writes: tokens summed, times of the slowest.

    Args:
        model: the network, as prepared by DDP, FSDP or torch.compile or before.
        accelerator: accelerate's, if there is one: its precision and its gradient accumulation are taken.
        out: folder of records.
        every: steps between two lines on stderr; 0 prints none.
        name: of the model in the record; None takes the configuration's, else the class's.
        dtype: of compute; None sees autocast in the first forward pass, else takes the parameters'.
        optimizer: adamw or sgd, for the bytes that must move; None counts no state.
        accumulate: batches per optimizer step; None is the accelerator's, else as many as it is seen to take.
        inputs: of no effect, and said to be so: what forward is given is seen.
        steps: that were asked for, as the record says it.
        forward: forward(model, batch) runs one batch, to count FLOP in place of the model's own calls, on a copy without memory; it
            returns the loss or a tuple of losses, or calls backward itself.
        size: from a batch to its BatchSize or number of samples, where bench.callbacks.batches.size_of cannot tell.
        ceilings: whether this machine's rates are measured; or such as were measured before.
        guard: of the hook that makes this, whose own failures are then in the record.
        compiled: whether torch.compile has wrapped the model where that cannot be seen from here.

    Raises:
        BadValueError: an option out of its range.
        UnavailableError: the folder cannot be written.
    """

    def __init__(
        self,
        model: nn.Module,
        accelerator: Any = None,
        *,
        out: str | os.PathLike[str] = "runs",
        every: int = 50,
        name: str | None = None,
        dtype: str | None = None,
        optimizer: str | None = None,
        accumulate: int | None = None,
        inputs: Any = None,
        steps: int | None = None,
        forward: StepFunction | None = None,
        size: Size | None = None,
        ceilings: bool | Sequence[Ceiling] = True,
        guard: Guard | None = None,
        compiled: bool = False,
    ) -> None:
        expect_options(out, every=every, accumulate=accumulate, dtype=dtype, optimizer=optimizer, inputs=inputs)
        device_name = device_of(model)
        self._accelerator, self._accumulate, self._guard = accelerator, accumulate, guard or Guard()
        self._between, self._has_begun, self._is_kept = BetweenSteps(), False, False
        self._writer: Writer | None = None
        options = {"name": name, "dtype": dtype, "optimizer": optimizer, "ceilings": ceilings, "compiled": compiled, "steps": steps}
        self._begin_watching(model, device_name, Path(out), every, size, forward, **options)

    @event
    def _begin_watching(
        self, model: nn.Module, device_name: str, out: Path, every: int, size: Size | None, forward: StepFunction | None, **options: Any
    ) -> None:
        """Set the meters up; a device or a model that cannot be watched is no error of the training's."""
        self._size = partial(given_size, size) if size else partial(size_of, use=label_use(model))
        device = devices.choose(device_name)
        self._context = TrainingContext(model, device, self._accelerator, guard=self._guard, **options)
        self._state = RankState(model, device, self._context, self._guard, forward, self._accelerator)
        self._log, self._energy = self._state.log, self._state.energy
        self._ends = StepEnds(self._accumulate, self._accelerator, self._state.updates, self._log)
        self._writer = Writer(self._state, out, say=every > 0)
        self._console = Console(self._state, every)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.finish(*ending_of(error))

    def step(self, batch: Any = None, *, tokens: int | None = None, padding: int = 0, seq_len: int | None = None) -> StepBlock:
        """One batch: forward, backward, and where gradients are not accumulated the optimizer's step. The body of a `with`.

        Args:
            batch: what forward is given; its size is read from it.
            tokens: in place of a batch, its tokens without padding.
            padding: with `tokens`: positions beside them that are computed and hold none.
            seq_len: with `tokens`: positions of a sequence.

        Raises:
            BadValueError: before the first step: neither a batch nor tokens, or counts that no batch has.
        """
        if batch is not None:
            return StepBlock(self, batch, None)
        told = partial(told_size, tokens=tokens, padding=padding, seq_len=seq_len)
        if not self._has_begun:
            told(None)
        return StepBlock(self, None, told)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Around what is not training: evaluation, saving. Neither its time nor its energy counts, inside a step or between two."""
        self.hold(aside=True)
        try:
            yield
        finally:
            self.resume(aside=True)

    @event
    def resume(self, *, aside: bool = False) -> None:
        """What held the training up is over: where no loader is watched, the wait for data counts from here."""
        if aside:
            self._log.enter()
        self._between.wait_from(time.perf_counter())
        self._state.flop_source.passes.resume()

    @event
    def hold(self, *, aside: bool = False) -> None:
        """The training pauses until the next step begins, or inside a step until it resumes."""
        if aside:
            self._log.leave()
        self._guard("energy_j", self._energy.close)
        self._state.flop_source.passes.hold()
        self._between.is_waiting = False

    @property
    def state(self) -> RankState:
        """The meters, for hooks that know better where a step begins and ends, or are told of passes as well."""
        return self._state

    @event
    def arrived(self, wait_s: float | None = None, at: Mark | None = None) -> None:
        """A step begins: its data have come after so long a wait, None: since the step before; what else was between is of others."""
        begun_s = time.perf_counter()
        self._arrive(begun_s if at is None else at[0], wait_s, at)
        self._state.observer_s += time.perf_counter() - begun_s

    def _arrive(self, came_s: float, wait_s: float | None, at: Mark | None) -> None:
        if not self._is_kept:
            self._has_begun = self._is_kept = True
            self._guard("signals", kept_on_signal.watch, self._keep)
        wait_s, others_s = self._between.came(came_s, wait_s)
        if not (self._energy.is_open or self._context.is_open):  # the first step is short of the ceilings, which are no training
            self._guard("energy_j", self._energy.open)
        self._guard(FIGURE, self._state.begin_step)
        self._log.begin(wait_s, others_s=others_s, at=at)

    @event
    def begin(
        self, batch: Any = None, size: Callable[[Any], BatchSize] | None = None, wait_s: float | None = None, at: Mark | None = None
    ) -> None:
        """A batch is in hand, after so long a wait; the first one of a step begins it, now or at a mark. `size` tells how large it is."""
        if self._state.updates.num_new:
            self._take_late()
        begun_s, log, state = time.perf_counter(), self._log, self._state
        goes_on = log.is_open
        if goes_on:
            log.leave()
        known = self._guard(SIZE, size or self._size, batch) or unknown_size(self._guard.failed[SIZE])
        known = state.see(batch, known)
        if goes_on:
            log.enter(own=True)
            log.wait(wait_s or 0.0)
        else:
            self._arrive(begun_s if at is None else at[0], wait_s, at)
        log.add(known)
        if state.runs_batches:
            self._guard("training_flop", state.see_work, batch)
        state.observer_s += time.perf_counter() - begun_s

    def _take_late(self) -> None:
        """Optimizers have stepped since the last batch was done: that was the end of its step."""
        begun_s, free_since_s, is_waiting = time.perf_counter(), self._between.free_since_s, self._between.is_waiting
        if self._ends.was_before():
            self.end(last=True)
        if self._log.num_held:
            self._settle_held()
        self._between.free_since_s, self._between.is_waiting = free_since_s + time.perf_counter() - begun_s, is_waiting

    def _settle_held(self) -> None:
        if self._ends.settle_held():
            self._guard("ceilings", self._state.close_context)

    @event
    def loss(self, value: Any, *, part: bool = False, times: int = 1) -> None:
        """The loss of the batch at hand: a number or a scalar tensor, which stays on its device until it is read.

        A step's loss is the mean of its batches'. Where it was divided for accumulation, by the number of batches or by the tokens of
        them all, it is their sum: `part` says so. A division by the number is seen by itself in a tensor that still has its graph.

        Args:
            part: the value is one of those that a step's loss is the sum of.
            times: what a value that was divided without being such a part is multiplied by when it is read.
        """
        loss = self._guard("loss", scalar_loss, value)
        if loss is None:
            return
        if not part and (num := self._ends.num_told) != 1:
            part = bool(self._guard("division of the loss", was_divided, value, num))
        self._guard.attempt("taking the loss", self._log.loss, loss, part=part, times=times)

    @event
    def end(self, *, last: bool | None = None) -> bool:
        """The batch is done; `last` says whether the optimizer has stepped, None decides by the accumulation. Returns which."""
        begun_s = ended_s = time.perf_counter()
        state, log = self._state, self._log
        hold = last is None and self._ends.hold()
        if last is None:
            last = self._ends.here()
        if last:
            ended = state.end_step(hold=hold)
            ended_s = begun_s if ended is None else min(begun_s, ended[0])
            if log.num_held:
                self._settle_held()
            shows = self._console.is_due(log.num_ended, begun_s)
            if shows or log.is_full:
                log.settle()
            if shows:
                self._guard("progress lines", self._console.show)
        elif self._ends.are_seen:
            log.batch_ended()
        free_s = time.perf_counter()
        state.observer_s += free_s - begun_s
        if last and self._context.is_open:
            self._guard("ceilings", state.close_context)
            free_s = time.perf_counter()
        if self._writer is not None and time.monotonic() > self._writer.due_s:
            self._guard.attempt("saving the record", self._writer.autosave)
            free_s = time.perf_counter()
        self._between.wait_from(free_s, free_s - (begun_s - ended_s) if last else None)
        return last

    @event
    def drop(self) -> None:
        """The step at hand does not count: it was broken off."""
        self._state.drop_step()

    @event
    def flush(self) -> None:
        """Batches that were accumulated when the data ended: the optimizer has stepped with fewer."""
        if self._log.is_open:
            self.end(last=True)

    def figures(self) -> dict[str, float]:
        """Rates of this rank since the last call, for somebody's logs; empty before a step has ended. See bench.callbacks.rates.NAMES."""
        return self._figures() or {}

    @event
    def _figures(self) -> dict[str, float] | None:
        begun_s, figures = time.perf_counter(), self._console.figures()
        took_s = time.perf_counter() - begun_s
        self._state.observer_s += took_s
        if not self._log.is_open:
            self._between.leave_out(took_s)
        return figures

    def begin_anew(self, watch: Watch, why: str) -> None:
        """Another one watches the same training from its beginning: this one leaves no record, and the other's says why."""
        self._guard.attempt("discarding the record", self._begin_anew, watch, why)

    def _begin_anew(self, watch: Watch, why: str) -> None:
        if self._writer is None:
            return
        self._energy.close()
        self._guard.attempt("removing the hooks", self._state.leave)
        self._writer.discard(watch._state, why)

    def finish(self, status: str = "complete", reason: str = "") -> Measurement | None:
        """The training has ended, or pauses for good: write the record. May be called again after more steps; by every rank.

        Returns:
            What was written; None on the ranks that write nothing, and where it could not be written.
        """
        try:
            return self._guard.attempt("writing the record", self._finish, status, reason)
        finally:
            self._is_kept = False
            self._guard.attempt("leaving the signals", kept_on_signal.leave, self._keep)

    def _keep(self, reason: str) -> None:
        """A signal ends the process."""
        if self._is_kept:
            self.finish("partial", reason)

    def _finish(self, status: str, reason: str) -> Measurement | None:
        if self._writer is None:
            return None
        if self._state.updates.num_new:
            self._take_late()
        if status == "complete":
            self.flush()
        else:
            self.drop()
        self._guard.attempt("removing the hooks", self._state.leave)
        self._log.others(self._between.of_others(time.perf_counter()))
        self._guard("step times", self._log.settle, last=True, wait=status == "complete")
        self._guard("energy_j", self._energy.close)
        self._between.is_waiting = False
        return self._writer.write(status, reason)
