"""The steps of a training as they happened: host time and device events together, data wait apart, read without waiting."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.backend.device import Device
from bench.callbacks.batches import BatchSize
from bench.callbacks.guard import Guard
from bench.callbacks.open_step import Aside, Mark, OpenStep, joined
from bench.callbacks.optimizer_steps import NO_UPDATES, Updates
from bench.callbacks.passes import Passes
from bench.callbacks.step_reading import StepReader
from bench.callbacks.step_series import StepSeries
from bench.callbacks.work import Work
from estimators.errors import BadValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that has ended: the batches up to a step of the optimizer, or to one that a scaler skipped.

    Attributes:
        host_s: the host's time from the batch in hand to the end; without a wait for the device on CUDA.
        device_s: the same between two device events; None where there are none.
        wait_s: the host's wait for data, before the step and between its batches.
        exposed_wait_s: the part of it that held the step up: all of it by the host's clock; on CUDA at most the device's own gap.
        others_s: time of savers, evaluators and other callbacks, since the step before and inside this one: in no other figure.
        shapes: rows and length of every batch in it; empty where the size of one is not known.
        num_padding: None where no mask tells.
        loss: the mean of those given, or the sum of the parts given; None where none was.
        work: FLOP of its passes; None where one of them is not known.
        positions: positions that were computed, padding included; None: rows times length of every batch.
        num_loss_tokens: None where no labels of tokens tell.
        unsized: why the size of a batch in it is not known; empty where all are.
        num_updates, num_skipped: optimizers' steps that were taken, and that a gradient scaler skipped, as far as they are seen.
    """

    host_s: float
    device_s: float | None
    wait_s: float
    exposed_wait_s: float
    shapes: tuple[tuple[int, int], ...]
    num_padding: int | None
    loss: float | None
    work: Work | None = None
    others_s: float = 0.0
    positions: int | None = None
    num_loss_tokens: int | None = None
    unsized: str = ""
    num_updates: int = 0
    num_skipped: int = 0

    @property
    def period_s(self) -> float:
        """What the step took, exposed data wait included: its tokens over this are the throughput."""
        return self.host_s + self.wait_s if self.device_s is None else self.device_s + self.exposed_wait_s

    @property
    def is_sized(self) -> bool:
        """Whether its tokens or samples are known."""
        return bool(self.shapes)

    @property
    def num_positions(self) -> int:
        """Positions that were computed, padding included."""
        return sum(rows * length for rows, length in self.shapes) if self.positions is None else self.positions

    @property
    def num_items(self) -> int | None:
        """Tokens without padding, or samples; None where the size of a batch is not known."""
        return None if self.unsized else self.num_positions - (self.num_padding or 0)


SHORTEST_ASIDE_S = 1e-4
"""What takes the training less time inside a step stays in it."""

READ_AT_ONCE = 32
"""Steps that are read together: what a step costs to read is less so."""


class StepLog:
    """Takes the marks of one rank's steps.

    Args:
        guard: of this training; losses and paddings that cannot be read cost those figures alone.
        work_of: from a step's passes to their FLOP, asked when the device has finished the step.

    Attributes:
        done: the steps that have been read, in order.
        num_ended: steps that have ended, read or not.
        num_held: of those that ended last and are not read, the ones that may be parts of one; see `join_held`.
        processor_s: of the training's thread inside its steps; None where a device beside the processor does the work.
    """

    def __init__(
        self, device: Device, guard: Guard | None = None, work_of: Callable[[Passes | None], Work | None] = lambda _: None
    ) -> None:
        self._device, self._cuda = device, device.kind == "cuda"
        side = torch.cuda.Stream(device.torch_device) if self._cuda else None
        self._reader = StepReader(side, self._cuda, guard or Guard(), work_of)
        self._pending: deque[OpenStep] = deque()
        self._read_from = READ_AT_ONCE
        self._open: OpenStep | None = None
        self._left: list[Mark] = []
        self._left_wait_s = self._left_own_s = 0.0
        self.done: StepSeries[Step] = StepSeries(Step)
        self.num_ended = self.num_held = 0
        self._begun_processor_s = 0.0
        self.processor_s: float | None = 0.0 if device.kind == "cpu" else None

    @property
    def is_open(self) -> bool:
        """Whether a step has begun and not ended."""
        return self._open is not None

    @property
    def num_open_batches(self) -> int:
        """Batches in the step that has not ended."""
        return len(self._open.sizes) if self._open else 0

    @property
    def is_full(self) -> bool:
        """Whether so many steps have not been read that it is time to."""
        return len(self._pending) >= self._read_from

    @property
    def last_shapes(self) -> tuple[tuple[int, int], ...]:
        """Of the step that ended last: rows and length of every batch."""
        return self._pending[-1].shapes if self._pending else ()

    @property
    def last_passes(self) -> Passes | None:
        """Of the step that ended last."""
        return self._pending[-1].passes if self._pending else None

    def mark(self) -> Mark:
        """This point in time."""
        if not self._cuda:
            if self._device.kind == "mps":
                self._device.synchronize()
            return time.perf_counter(), None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device.torch_device))
        return time.perf_counter(), event

    def begin(self, wait_s: float, *, others_s: float = 0.0, at: Mark | None = None) -> None:
        """The first batch of a step is in hand, now or at a mark, after so long a wait and so long a time of others.

        A step that is open already goes on: its batches were not stepped on, and their gradients are in this one's.
        """
        if self._open is not None:
            self.wait(wait_s)
            return
        self._open = OpenStep(at or self.mark(), wait_s, others_s)
        self._begun_processor_s = time.thread_time()

    def wait(self, wait_s: float) -> None:
        """A wait for a further batch inside the step; its time is in the step's already."""
        assert self._open is not None
        self._open.inner_wait_s += wait_s
        if self._left:
            self._left_wait_s += wait_s

    def leave(self, at: Mark | None = None) -> None:
        """What comes now, until `enter`, is no training, although a step is open; spans may lie inside one another."""
        if self._open is not None:
            self._left.append(at or self.mark())

    def enter(self, *, own: bool = False) -> None:
        """The training goes on; `own` says that it was held up by us and not by others. Nothing where it was not left."""
        if self._open is None or not self._left:
            return
        begun = self._left.pop()
        took_s = time.perf_counter() - begun[0]
        if self._left:
            self._left_own_s += took_s if own else 0.0
            return
        wait_s, own_s = self._left_wait_s, took_s if own else self._left_own_s
        self._left_wait_s = self._left_own_s = 0.0
        if took_s >= SHORTEST_ASIDE_S or wait_s:
            others_s = max(0.0, took_s - wait_s - own_s)
            self._open.asides.append(Aside(begun, self.mark(), wait_s, others_s))

    def add(self, size: BatchSize) -> None:
        """A batch is in the step."""
        assert self._open is not None
        self._open.sizes.append(size)
        self._open.batch_ended = None

    def batch_ended(self) -> None:
        """A batch of the step that is open is done; where no further one comes the step has ended here."""
        if self._open is not None:
            self._open.batch_ended = self.mark()

    def loss(self, value: Any, *, part: bool = False, times: int = 1) -> None:
        """A loss of the step that is open, or of the one that ended last, times a number; parts are added up.

        Raises:
            BadValueError: there is neither.
        """
        target = self._open or (self._pending[-1] if self._pending else None)
        if target is None:
            raise BadValueError("a loss was given before the first step; give it inside a step")
        (target.parts if part else target.losses).append((value, times))

    def end(self, passes: Passes | None = None, updates: Updates = NO_UPDATES, *, hold: bool = False) -> Mark | None:
        """The optimizer has stepped; where the training was left, it had before that.

        Args:
            passes: that happened in the step; None where they are not known.
            updates: what optimizers did in it.
            hold: whether it may be a part of a later step.

        Returns:
            When; None where no step is open.
        """
        step = self._open
        if step is None:
            return None
        if self.processor_s is not None:
            self.processor_s += max(0.0, time.thread_time() - self._begun_processor_s)
        step.ended = ended = step.batch_ended or (self._left[0] if self._left else self.mark())
        if self._left:
            self._forget_left()
        step.passes, step.updates, step.is_held, self._open = passes, updates, hold, None
        self._pending.append(step)
        self.num_ended += 1
        self.num_held += hold
        if passes and passes[0][0].documents is not None:  # not kept for longer than they must be
            self._read_from = 0
        return ended

    def updated(self, updates: Updates) -> None:
        """Optimizers did that after the step that ended last."""
        if self._pending:
            self._pending[-1].updates = self._pending[-1].updates.and_then(updates)

    def join_held(self) -> None:
        """The steps that were held, and the one after them where there is one, are a single step, which is held no more."""
        while len(self._pending) > 1 and self._pending[-2].is_held:
            later, earlier = self._pending.pop(), self._pending.pop()
            self._pending.append(joined(earlier, later))
            self.num_ended -= 1
        self.num_held = 0

    def so_far(self) -> Sequence[Step]:
        """The steps that have been read; where some are held, each of them for itself."""
        if not self.num_held:
            return self.done
        held: StepSeries[Step] = StepSeries(Step)
        held.extend(self._reader.rows(list(self._pending)[: self._num_over()], ahead=True))
        return [*self.done, *held]

    def release_held(self) -> None:
        """Each of the steps that were held is one by itself."""
        for step in self._pending:
            step.is_held = False
        self.num_held = 0

    def drop(self) -> None:
        """Forget a step that was broken off."""
        self._open = None
        self._forget_left()

    def _forget_left(self) -> None:
        self._left.clear()
        self._left_wait_s = self._left_own_s = 0.0

    def others(self, seconds: float) -> None:
        """Time of others after the step that ended last, which no further one follows."""
        if self._pending:
            self._pending[-1].after_s += seconds

    def settle(self, *, last: bool = False, wait: bool = False) -> None:
        """Read the times of the steps that the device has finished.

        Args:
            last: also of the step that ended last, which stays open for its loss until another has begun.
            wait: until the device has finished all.
        """
        if wait:
            self._device.synchronize()
        if self.num_held and not last:
            return
        self.num_held = 0
        num = self._num_over(last=last)
        self._read_from = len(self._pending) - num + READ_AT_ONCE
        if num:
            self.done.extend(self._reader.rows([self._pending.popleft() for _ in range(num)]))

    def _num_over(self, *, last: bool = False) -> int:
        """Steps that the device has finished, without the one that ended last where it is still open for its loss."""
        num = len(self._pending) - (not last and self._open is None)
        if self._cuda:
            num = next((place for place in range(num) if not self._has_finished(self._pending[place])), num)
        return max(0, num)

    @staticmethod
    def _has_finished(step: OpenStep) -> bool:
        return step.ended is not None and bool(step.ended[1].query())
