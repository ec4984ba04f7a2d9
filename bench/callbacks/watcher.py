"""Watch: the meters around the steps of somebody else's training, and the record that they leave."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.backend import device as devices
from bench.callbacks import keep, live, ranks
from bench.callbacks.batches import Size, size_of
from bench.callbacks.counted import Inputs
from bench.callbacks.energy import Energy
from bench.callbacks.proof import Watched
from bench.callbacks.setting import Setting, usual_shape
from bench.callbacks.steps import StepLog
from bench.callbacks.work import Unknown, Work, work_of
from bench.record import Ceiling, Finding, Measurement
from bench.workloads.article.ranks import promised_ranks_missing
from estimators.errors import BadValueError

AUTOSAVE_S = 60.0
"""Between two records of a training that still runs, so that a killed one leaves its steps; and 200 times what writing one took."""

LEAST_LINE_S = 1.0
"""Between two lines, however short the steps."""


class Watch:
    """Times, counts and weighs the steps of a training that is not ours, and writes the record that `run` writes.

    The loop is not changed and its device is not waited for. What it costs is measured and is in the record. Before the
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
        inputs: from a batch to what forward takes, to count FLOP of a network without an op table.
        ceilings: whether this machine's rates are measured; or such as were measured before.

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
        inputs: Inputs | None = None,
        ceilings: bool | Sequence[Ceiling] = True,
    ) -> None:
        for option, value, least in (("every", every, 0), ("accumulate", 1 if accumulate is None else accumulate, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BadValueError(f"{option} is {value!r}; expected a whole number from {least}")
        self._model, self._accelerator, self._inputs, self._every = model, accelerator, inputs, every
        self._accumulate = accumulate
        parameter = next(model.parameters(), None)
        if parameter is None:
            raise BadValueError(f"{type(model).__name__} has no parameters; expected the network that is trained")
        self._device = devices.choose(str(parameter.device))
        self._setting = Setting(model, self._device, accelerator, name=name, dtype=dtype, optimizer=optimizer, ceilings=ceilings)
        self._draft = self._setting.draft(Path(out)) if ranks.is_main() else None
        self._log = StepLog(self._device)
        self._energy = Energy(self._device.uuid)
        self._work: Work | None = None
        self._watched: Watched | None = None
        self._limits = live.Limits()
        self._item, self._observer_s, self._shown = "token", 0.0, 0
        self._free_since_s = self._line_s = time.perf_counter()
        self._waiting, self._saved_s, self._save_every_s = False, time.monotonic(), AUTOSAVE_S

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self.finish()
        elif issubclass(kind, KeyboardInterrupt):
            self.finish("partial", "interrupted by the user")
        else:
            try:
                self.finish("failed", f"{kind.__name__}: {' '.join(str(error).split())[:500]}")
            except RuntimeError as lost:  # a device that failed cannot be read, and its own error must not be hidden
                print(f"no record of the failed training: {str(lost).splitlines()[0][:200]}", file=sys.stderr)

    @contextmanager
    def step(self, batch: Any = None, *, tokens: int | None = None, padding: int = 0, seq_len: int | None = None) -> Iterator[None]:
        """One batch: forward, backward, and where gradients are not accumulated the optimizer's step.

        Args:
            batch: what forward is given; its size is read from it.
            tokens: in place of a batch, its tokens without padding.
            padding: with `tokens`: positions beside them that are computed and hold none.
            seq_len: with `tokens`: positions of a sequence; without it FLOP are not known.
        """
        self.begin(batch, _said(batch, tokens, padding, seq_len))
        try:
            yield
        except BaseException:
            self.drop()
            raise
        self.end()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Around what is no training: evaluation, saving. Neither its time nor its energy counts."""
        self.hold()
        yield
        self.resume()

    def resume(self) -> None:
        """What held the training up is over: the wait for data counts from here."""
        self._free_since_s, self._waiting = time.perf_counter(), True

    def hold(self) -> None:
        """The training pauses until the next step begins."""
        self._energy.close()
        self._waiting = False

    def arrived(self, wait_s: float | None = None) -> None:
        """A step begins: its data have come after so long a wait; None takes the time since the step before."""
        begun_s = time.perf_counter()
        if wait_s is None:
            wait_s = begun_s - self._free_since_s if self._waiting else 0.0
        if not self._setting.is_open:  # the first step is short of the ceilings, which are no training
            self._energy.open()
        self._log.begin(wait_s)
        self._observer_s += time.perf_counter() - begun_s

    def begin(self, batch: Any = None, size: Size | None = None, wait_s: float | None = None) -> None:
        """A batch is in hand, after so long a wait; the first one of a step begins it."""
        size = size or size_of(batch)
        if self._work is None:
            self._item, unsized = size.item, batch is None and size.length == 1
            self._work = Unknown("no seq_len was given") if unsized else work_of(self._model, batch, self._inputs, self._setting.name)
        self._work.see(batch, size.length)
        if self._watched is None:
            self._watched = Watched(self._model)
            self._setting.look_for_autocast()
        if not self._log.is_open:
            self.arrived(wait_s)
        else:
            self._log.wait(wait_s or 0.0)
        self._log.add(size)

    def loss(self, value: Any) -> None:
        """The loss of the batch at hand: a number or a scalar tensor, which stays on its device until it is read.

        Raises:
            BadValueError: not one number.
        """
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                raise BadValueError(f"a loss of shape {tuple(value.shape)}; expected one number, such as its mean")
            value = value.detach()
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise BadValueError(f"a loss of type {type(value).__name__}; expected a number or a scalar tensor")
        self._log.loss(value)

    def end(self, *, last: bool | None = None) -> None:
        """The batch is done; `last` says whether the optimizer has stepped, None decides by the accumulation."""
        begun_s = time.perf_counter()
        if last is None:
            last = self._ends_here()
        if last:
            self._log.end()
            self._log.settle()
            if self._every and ranks.is_main():
                self._show()
        self._observer_s += time.perf_counter() - begun_s
        if last and self._setting.is_open:
            self._limits = self._setting.close(self._work, self._log.last_shapes)
        if time.monotonic() - self._saved_s > self._save_every_s:
            self._autosave()
        self._free_since_s, self._waiting = time.perf_counter(), True

    def _ends_here(self) -> bool:
        if self._accumulate is None and self._accelerator is not None:
            return bool(self._accelerator.sync_gradients)
        return self._log.num_open_batches >= (self._accumulate or 1)

    def drop(self) -> None:
        """The step at hand does not count: it was broken off."""
        self._log.drop()

    def flush(self) -> None:
        """Batches that were accumulated when the data ended: the optimizer has stepped with fewer."""
        if self._log.is_open:
            self.end(last=True)

    def figures(self) -> dict[str, float]:
        """Rates of this rank since the last call, for somebody's logs; empty before a step has ended. See bench.callbacks.live.NAMES."""
        begun_s = time.perf_counter()
        found = self._figures()
        self._observer_s += time.perf_counter() - begun_s
        return found

    def _figures(self) -> dict[str, float]:
        self._log.settle()
        fresh = self._log.done[self._shown :]
        self._shown = len(self._log.done)
        if not fresh:
            return {}
        peaks = self._device.peak_memory().values
        held = peaks.get("torch_allocated") or peaks.get("peak_rss")
        memory_bytes = None if held is None else int(held)
        return live.figures(
            fresh, work=self._work, limits=self._limits, item=self._item, memory_bytes=memory_bytes, energy_j=self._energy.so_far_j()
        )

    def _show(self) -> None:
        num_steps, now_s = len(self._log.done), time.perf_counter()
        if num_steps - self._shown < self._every or now_s - self._line_s < LEAST_LINE_S:
            return
        self._line_s = now_s
        found = self._figures()
        line = live.text(num_steps, found, num_ranks=ranks.num_ranks(), loss=self._log.done[-1].loss)
        print(line, file=sys.stderr, flush=True)

    def _autosave(self) -> None:
        begun_s = time.monotonic()
        if self._draft is not None:
            self._fill([self._report()], "interrupt")
            self._draft.save("partial", "was still running when this was written")
        self._saved_s = time.monotonic()
        self._save_every_s = max(AUTOSAVE_S, 200 * (self._saved_s - begun_s))

    def finish(self, status: str = "complete", reason: str = "") -> Measurement | None:
        """The training has ended, or pauses for good: write the record. May be called again after more steps.

        A complete one is put together from all ranks, which must all call this; one that was broken off has this rank alone.

        Returns:
            What was written; None on the ranks that write nothing.
        """
        if status == "complete":
            self.flush()
        else:
            self._log.drop()
        self._log.settle(last=True, wait=status == "complete")
        self.hold()
        report = self._report()
        reports = ranks.exchange(report) if status == "complete" else [report]
        if self._draft is None:
            return None
        alone = status != "complete" and ranks.num_ranks() > 1
        if status == "complete" and not all(one.steps for one in reports):
            status, reason = "partial", "no step was watched" if len(reports) == 1 else "a rank watched no step"
        self._fill(reports, "count" if status == "complete" else "interrupt")
        if alone:
            text = f"one rank of {ranks.num_ranks()}: the others were not asked, since the training broke off"
            self._draft.warnings.append(Finding(code="NotReduced", text=text, advice="take its tokens and energy as those of one rank"))
        written = self._draft.save(status, reason)
        if self._every:
            print(f"record: {self._draft.path}", file=sys.stderr, flush=True)
        return written

    def _report(self) -> ranks.RankReport:
        power, memory = self._energy.readings(), self._device.peak_memory()
        return ranks.RankReport(
            rank=ranks.rank(),
            device=self._device.name,
            uuid=self._device.uuid,
            steps=tuple(self._log.done),
            power=power.values,
            peak_bytes={name: None if value is None else int(value) for name, value in memory.values.items()},
            params_changed=self._watched is not None and self._watched.changed(),
            params_finite=self._watched is None or self._watched.finite(),
            observer_s=self._observer_s,
        )

    def _fill(self, reports: Sequence[ranks.RankReport], stopped_by: str) -> None:
        draft = self._draft
        assert draft is not None
        draft.unavailable = dict(self._device.peak_memory().unavailable)
        if reports[0].steps and self._work is not None:
            self._setting.fill(draft, self._work, usual_shape([step.shapes for step in reports[0].steps]))
        clock = "device-event" if self._device.kind == "cuda" else "host"
        keep.fill(draft, reports, self._energy.readings(), work=self._work, item=self._item, clock=clock, stopped_by=stopped_by)
        if promised_ranks_missing(os.environ):
            text = "accelerate launch --cpu started one process of several: it needs MPI for more"
            draft.warnings.append(Finding(code="RanksMissing", text=text, advice="start them with torchrun --nproc-per-node"))


def _said(batch: Any, tokens: int | None, padding: int, seq_len: int | None) -> Size | None:
    """The size that was told in place of a batch."""
    if batch is not None:
        return None
    if tokens is None:
        raise BadValueError("step() was given neither a batch nor tokens; expected step(batch), or step(tokens=...)")
    positions = tokens + padding
    if tokens < 0 or padding < 0 or positions == 0 or (seq_len is not None and (seq_len < 1 or positions % seq_len)):
        given = f"tokens={tokens}, padding={padding}, seq_len={seq_len}"
        raise BadValueError(f"{given}: expected counts from 0, and tokens and padding together a multiple of seq_len")
    if seq_len is None:
        return Size(rows=positions, length=1, num_padding=padding)
    return Size(rows=positions // seq_len, length=seq_len, num_padding=padding)
