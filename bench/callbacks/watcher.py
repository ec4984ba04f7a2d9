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
from bench.callbacks.console import Console
from bench.callbacks.context import TrainingContext
from bench.callbacks.guard import SIZE, Guard, event
from bench.callbacks.loss_parts import was_divided
from bench.callbacks.modules import label_use
from bench.callbacks.open_step import Mark
from bench.callbacks.options import expect_options
from bench.callbacks.pass_hooks import FIGURE
from bench.callbacks.passes import StepFunction
from bench.callbacks.proof import scalar_loss
from bench.callbacks.rank_state import RankState
from bench.callbacks.step_block import StepBlock
from bench.callbacks.writer import Writer, ending_of
from bench.records.record import Ceiling, Finding, Measurement
from estimators.errors import BadValueError


class Watch:
    """Times, counts and weighs the steps of a training that is not ours, and writes the record that `run` writes.

    The loop is not changed and its device is not waited for. What it costs is measured and is in the record. From the first
    step on nothing of ours raises into it: a figure that fails is unavailable, and the record says why. Before the
    second step this machine's ceilings are measured once, for about two seconds (`ceilings`).

        with Watch(model, accelerator) as w:
            for batch in loader:
                with w.step(batch):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    w.loss(loss)

    On several ranks every rank watches and leaves the block; the main one prints and writes: tokens summed, each
    step's time that of the slowest rank, energy once per physical GPU.

    Args:
        model: the network, as prepared by DDP, FSDP or torch.compile or before.
        accelerator: accelerate's, if there is one: its precision and its gradient accumulation are taken.
        out: folder of records.
        every: steps between two lines on stderr; 0 prints none.
        name: of the model in the record; None takes the configuration's, else the class's.
        dtype: of compute; None sees autocast in the first forward pass, else takes the parameters'.
        optimizer: adamw or sgd, for the bytes that must move; None counts no state.
        accumulate: batches per optimizer step; None is the accelerator's, else 1.
        inputs: taken from loops that were written for it and not asked: what forward is given is seen.
        forward: forward(model, batch) runs one batch, to count FLOP where the model's own calls are not to be counted; it returns the
            loss or a tuple of losses, or calls backward itself. It is called on a copy of the model without memory.
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
        forward: StepFunction | None = None,
        size: Size | None = None,
        ceilings: bool | Sequence[Ceiling] = True,
        guard: Guard | None = None,
        compiled: bool = False,
    ) -> None:
        expect_options(out, every=every, accumulate=accumulate, dtype=dtype, optimizer=optimizer)
        parameter = next(model.parameters(), None)
        if parameter is None:
            raise BadValueError(f"{type(model).__name__} has no parameters; expected the network that is trained")
        self._accelerator, self._accumulate, self._guard = accelerator, accumulate, guard or Guard()
        self._free_since_s, self._waiting = time.perf_counter(), False
        self._left_s: float | None = None
        self._has_begun, self._is_kept = False, False
        self._writer: Writer | None = None
        options = {"name": name, "dtype": dtype, "optimizer": optimizer, "ceilings": ceilings, "compiled": compiled}
        self._begin_watching(model, str(parameter.device), Path(out), every, size, forward, **options)

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
        self._free_since_s, self._waiting = time.perf_counter(), True
        self._state.flop_source.passes.resume()

    @event
    def hold(self, *, aside: bool = False) -> None:
        """The training pauses until the next step begins, or inside a step until it resumes."""
        if aside:
            self._log.leave()
        self._guard("energy_j", self._energy.close)
        self._state.flop_source.passes.hold()
        self._waiting = False

    @property
    def state(self) -> RankState:
        """The meters, for hooks that know better where a step begins and ends, or are told of passes as well."""
        return self._state

    @event
    def arrived(self, wait_s: float | None = None, at: Mark | None = None) -> None:
        """A step begins: its data have come after so long a wait; None takes the time since the step before.

        What else the time between the two steps was is that of others: savers, evaluators, loggers, callbacks.
        """
        begun_s = time.perf_counter()
        self._arrive(begun_s if at is None else at[0], wait_s, at)
        self._state.observer_s += time.perf_counter() - begun_s

    def _arrive(self, came_s: float, wait_s: float | None, at: Mark | None) -> None:
        if not self._is_kept:
            self._has_begun = self._is_kept = True
            self._guard("signals", kept_on_signal.watch, self._keep)
        if wait_s is None:
            wait_s = came_s - self._free_since_s if self._waiting else 0.0
        left_s, self._left_s = self._left_s, None
        others_s = 0.0 if left_s is None else came_s - left_s - wait_s
        if not (self._energy.is_open or self._context.is_open):  # the first step is short of the ceilings, which are no training
            self._guard("energy_j", self._energy.open)
        self._guard(FIGURE, self._state.begin_step)
        self._log.begin(wait_s, others_s=others_s if others_s > 0.0 else 0.0, at=at)

    @event
    def begin(
        self, batch: Any = None, size: Callable[[Any], BatchSize] | None = None, wait_s: float | None = None, at: Mark | None = None
    ) -> None:
        """A batch is in hand, after so long a wait; the first one of a step begins it, now or at a mark. `size` tells how large it is."""
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

    @event
    def loss(self, value: Any, *, part: bool = False, times: int = 1) -> None:
        """The loss of the batch at hand: a number or a scalar tensor, which stays on its device until it is read.

        A step's loss is the mean of its batches'. Where gradients are accumulated and the loss was divided for it, by the
        number of batches or by the tokens of them all, it is their sum: `part` says so. A division by the number of batches
        is seen by itself in a tensor that still has its graph.

        Args:
            part: the value is one of those that a step's loss is the sum of.
            times: what a value that was divided without being such a part is multiplied by when it is read.
        """
        loss = self._guard("loss", scalar_loss, value)
        if loss is None:
            return
        if not part and (num := self._num_accumulated()) != 1:
            part = bool(self._guard("division of the loss", was_divided, value, num))
        self._guard.attempt("taking the loss", self._log.loss, loss, part=part, times=times)

    @event
    def end(self, *, last: bool | None = None) -> None:
        """The batch is done; `last` says whether the optimizer has stepped, None decides by the accumulation."""
        begun_s = ended_s = time.perf_counter()
        state, log = self._state, self._log
        if last is None:
            last = self._ends_here()
        if last:
            ended = state.end_step()
            ended_s = begun_s if ended is None else min(begun_s, ended[0])
            shows = self._console.is_due(log.num_ended, begun_s)
            if shows or log.is_full:
                log.settle()
            if shows:
                self._guard("progress lines", self._console.show)
        free_s = time.perf_counter()
        state.observer_s += free_s - begun_s
        if last and self._context.is_open:
            self._guard("ceilings", state.close_context)
            free_s = time.perf_counter()
        if self._writer is not None and time.monotonic() > self._writer.due_s:
            self._guard.attempt("saving the record", self._writer.autosave)
            free_s = time.perf_counter()
        self._free_since_s, self._waiting = free_s, True
        if last:
            self._left_s = free_s - (begun_s - ended_s)

    def _ends_here(self) -> bool:
        if self._accumulate is None and self._accelerator is not None:
            return bool(self._accelerator.sync_gradients)
        return self._log.num_open_batches >= (self._accumulate or 1)

    def _num_accumulated(self) -> int:
        """Batches of a step, unless the data end."""
        return self._accumulate or int(getattr(self._accelerator, "gradient_accumulation_steps", 1))

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
        begun_s = time.perf_counter()
        figures = self._console.figures()
        took_s = time.perf_counter() - begun_s
        self._state.observer_s += took_s
        if not self._log.is_open:  # between two steps: neither a wait for data nor a time of others
            self._free_since_s += took_s
            self._left_s = self._left_s and self._left_s + took_s
        return figures

    def begin_anew(self, watch: Watch, why: str) -> None:
        """Another one watches the same training from its beginning: this one leaves no record, and the other's says why."""
        self._guard.attempt("discarding the record", self._begin_anew, watch, why)

    def _begin_anew(self, watch: Watch, why: str) -> None:
        if self._writer is None:
            return
        self._energy.close()
        self._guard.attempt("removing the hooks", self._state.leave)
        self._writer.discard()
        self._log.drop()
        self._log.settle(last=True)
        watch._state.findings += self._state.findings
        if self._log.done:
            text = f"{why} after {len(self._log.done)} steps, which are not in this record, and the training began anew"
            watch._state.findings.append(Finding(code="BegunAnew", text=text, advice="give the batch size that fits"))

    def finish(self, status: str = "complete", reason: str = "") -> Measurement | None:
        """The training has ended, or pauses for good: write the record. May be called again after more steps.

        On several ranks each leaves its report when it calls this, and the main one puts them together; see bench.callbacks.exchange.

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
        if status == "complete":
            self.flush()
        else:
            self.drop()
        self._guard.attempt("removing the hooks", self._state.leave)
        if self._left_s is not None:
            self._log.others(max(0.0, time.perf_counter() - self._left_s))
            self._left_s = None
        self._guard("step times", self._log.settle, last=True, wait=status == "complete")
        self._guard("energy_j", self._energy.close)
        self._waiting = False
        return self._writer.write(status, reason)
