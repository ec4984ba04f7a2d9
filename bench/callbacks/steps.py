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
from bench.callbacks.guard import SIZE, Guard
from bench.callbacks.open_step import Aside, Mark, OpenStep, joined
from bench.callbacks.optimizer_steps import FIGURE, NO_UPDATES, Updates
from bench.callbacks.passes import Passes
from bench.callbacks.step_series import StepSeries
from bench.callbacks.work import Work
from estimators.errors import BadValueError
from estimators.units import KILO


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


class StepLog:
    """Takes the marks of one rank's steps.

    Args:
        guard: of this training; losses and paddings that cannot be read cost those figures alone.
        work_of: from a step's passes to their FLOP, asked when the device has finished the step.

    Attributes:
        done: the steps whose times are known, in order.
        last_shapes, last_passes: of the step that ended last.
        num_held: steps that ended last and are not read, since they may be parts of one; see `join_held`.
    """

    def __init__(
        self, device: Device, guard: Guard | None = None, work_of: Callable[[Passes | None], Work | None] = lambda _: None
    ) -> None:
        self._device, self._guard, self._work_of = device, guard or Guard(), work_of
        self._cuda = device.kind == "cuda"
        self._side = torch.cuda.Stream(device.torch_device) if self._cuda else None
        self._pending: deque[OpenStep] = deque()
        self._open: OpenStep | None = None
        self._before: Mark | None = None
        self._left: list[Mark] = []
        self._left_wait_s = self._left_own_s = 0.0
        self.done: StepSeries[Step] = StepSeries(Step)
        self.last_shapes: tuple[tuple[int, int], ...] = ()
        self.last_passes: Passes | None = None
        self.num_held = 0

    @property
    def is_open(self) -> bool:
        """Whether a step has begun and not ended."""
        return self._open is not None

    @property
    def num_open_batches(self) -> int:
        """Batches in the step that has not ended."""
        return len(self._open.sizes) if self._open else 0

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
        self._open = OpenStep(begun=at or self.mark(), wait_s=wait_s, before_s=others_s)

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
        if self._open is None:
            return None
        self._open.ended = ended = self._open.batch_ended or (self._left[0] if self._left else self.mark())
        self._open.passes, self._open.updates = passes, updates
        self._forget_left()
        self._pending.append(self._open)
        self._open = None
        self.num_held += hold
        self._look_at_last()
        return ended

    def _look_at_last(self) -> None:
        last = self._pending[-1]
        self.last_passes = last.passes
        self.last_shapes = () if last.unsized else tuple((size.rows, size.length) for size in last.sizes)

    def updated(self, updates: Updates) -> None:
        """Optimizers did that after the step that ended last."""
        if self._pending:
            self._pending[-1].updates = self._pending[-1].updates.and_then(updates)

    def join_held(self) -> None:
        """The steps that were held, and the one after them where there is one, are a single step, which is held no more."""
        while len(self._pending) > 1 and self.num_held:
            later, earlier = self._pending.pop(), self._pending.pop()
            self._pending.append(joined(earlier, later))
        self.num_held = 0
        self._look_at_last()

    def so_far(self) -> Sequence[Step]:
        """The steps whose times are known; where they are held, each of them for itself."""
        if not self.num_held:
            return self.done
        known = list(self._pending) if self._open is not None else list(self._pending)[:-1]
        return [*self.done, *(self._read(step, step.ended) for step in known if step.ended and self._is_over(step.ended))]

    def _is_over(self, mark: Mark) -> bool:
        return not self._cuda or mark[1].query()

    def release_held(self) -> None:
        """Each of the steps that were held is one by itself."""
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
        while self._pending and (last or len(self._pending) > 1 or self._open is not None):
            step = self._pending[0]
            assert step.ended is not None
            if not self._is_over(step.ended):
                return
            self._pending.popleft()
            self.done.append(self._read(step, step.ended))
            self._before = step.ended

    def _read(self, step: OpenStep, ended: Mark) -> Step:
        (begun_s, begun), (ended_s, end) = step.begun, ended
        wait_s = step.wait_s + step.inner_wait_s
        device_s, exposed_s, before_s = None, wait_s, step.before_s
        if self._cuda:
            gap_s = max(0.0, self._before[1].elapsed_time(begun) / KILO) if self._before else step.wait_s + before_s
            exposed_s = min(step.wait_s, gap_s)
            before_s = min(before_s, gap_s - exposed_s)
            device_s = begun.elapsed_time(end) / KILO
            for aside in step.asides:
                idle_s = min(aside.ended[0] - aside.begun[0], aside.begun[1].elapsed_time(aside.ended[1]) / KILO)
                device_s -= idle_s
                exposed_s += min(aside.wait_s, idle_s)
        num_padding, num_loss_tokens = self._guard(SIZE, self._counts, step.sizes) or (None, None)
        losses, parts = (self._guard("loss", self._losses, given) for given in (step.losses, step.parts))
        taken, skipped, found_inf = step.updates
        num_fused = sum(found > 0 for found in self._guard(FIGURE, self._floats, list(found_inf)) or ()) if found_inf else 0
        unsized = self._guard.failed.get(SIZE, "") or step.unsized
        inside_s = sum(aside.ended[0] - aside.begun[0] - aside.wait_s for aside in step.asides)
        return Step(
            host_s=ended_s - begun_s - inside_s - (0.0 if self._cuda else step.inner_wait_s),
            device_s=device_s,
            wait_s=wait_s,
            exposed_wait_s=exposed_s,
            shapes=() if unsized else tuple((size.rows, size.length) for size in step.sizes),
            num_padding=num_padding,
            loss=sum(parts) if parts else sum(losses) / len(losses) if losses else None,
            work=self._guard("training_flop", self._work_of, step.passes),
            others_s=before_s + step.after_s + sum(aside.others_s for aside in step.asides),
            positions=sum(size.num_positions for size in step.sizes),
            num_loss_tokens=num_loss_tokens,
            unsized=unsized,
            num_updates=taken - num_fused,
            num_skipped=skipped + num_fused,
        )

    def _counts(self, sizes: list[BatchSize]) -> tuple[int | None, int | None]:
        """Padding, and tokens that bear a loss, of those batches that tell them; None where none does."""
        told = [[num for num in each if num is not None] for each in zip(*((s.num_padding, s.num_loss_tokens) for s in sizes), strict=True)]
        padding, losses = (round(sum(self._floats(each))) if each else None for each in told or ([], []))
        return padding, losses

    def _losses(self, given: list[tuple[Any, int]]) -> list[float]:
        return [times * value for value, (_, times) in zip(self._floats([value for value, _ in given]), given, strict=True)]

    def _floats(self, values: list[Any]) -> list[float]:
        """Numbers and scalars of a finished step; on CUDA through a stream of its own, so that the queue is not waited for."""
        if self._side is None:
            return [float(value) for value in values]
        with torch.cuda.stream(self._side):
            return [float(value) for value in values]
