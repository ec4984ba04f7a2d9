"""From the marks of steps that have ended to their figures, several steps at once and without waiting for a device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeAlias

import torch

from bench.callbacks.guard import SIZE, Guard
from bench.callbacks.open_step import Mark, OpenStep
from bench.callbacks.optimizer_steps import FIGURE
from bench.callbacks.passes import Passes
from bench.callbacks.work import Work
from estimators.units import KILO

Counts: TypeAlias = tuple[int | None, int | None]
"""Padding, and tokens that bear a loss; None where not told."""

StepRow: TypeAlias = tuple[Any, ...]
"""The fields of a Step, in their order."""


class StepReader:
    """Reads the steps that a device has finished, in their order.

    Args:
        side: a stream of its own on a CUDA device; None elsewhere.
        is_cuda: whether marks have events of a device.
        guard: of this training; losses and paddings that cannot be read cost those figures alone.
        work_of: from a step's passes to their FLOP.
    """

    def __init__(self, side: Any, is_cuda: bool, guard: Guard, work_of: Callable[[Passes | None], Work | None]) -> None:
        self._side, self._cuda, self._guard, self._work_of = side, is_cuda, guard, work_of
        self._before: Mark | None = None

    def rows(self, steps: list[OpenStep], *, ahead: bool = False) -> list[StepRow]:
        """One after another; `ahead` where they will be read again."""
        before = self._before
        meters = ((SIZE, self._counts), ("loss", self._losses), ("training_flop", self._works), (FIGURE, self._fused))
        counts, losses, works, fused = (self._each(figure, read, steps) for figure, read in meters)
        lost = self._guard.failed.get(SIZE, "")
        found = [self._row(*of, lost) for of in zip(steps, counts, losses, works, fused, strict=True)]
        if ahead:
            self._before = before
        return found

    def _each(self, figure: str, read: Callable[[list[OpenStep], list[Any]], None], steps: list[OpenStep]) -> list[Any]:
        """What a meter reads of each step; None from the one on where it fails."""
        found: list[Any] = []
        self._guard(figure, read, steps, found)
        return found + [None] * (len(steps) - len(found))

    def _row(self, step: OpenStep, counts: Counts | None, loss: float | None, work: Work | None, fused: int | None, lost: str) -> StepRow:
        assert step.ended is not None
        (begun_s, begun), (ended_s, end) = step.begun, step.ended
        wait_s = step.wait_s + step.inner_wait_s
        device_s, exposed_s, before_s = None, wait_s, step.before_s
        if self._cuda:
            gap_s = max(0.0, self._before[1].elapsed_time(begun) / KILO) if self._before else step.wait_s + before_s
            exposed_s = min(step.wait_s, gap_s)
            before_s = min(before_s, gap_s - exposed_s)
            device_s = begun.elapsed_time(end) / KILO
            self._before = step.ended
        inside_s, others_s = 0.0, before_s + step.after_s
        for aside in step.asides:
            inside_s += aside.ended[0] - aside.begun[0] - aside.wait_s
            others_s += aside.others_s
            if device_s is not None:
                idle_s = min(aside.ended[0] - aside.begun[0], aside.begun[1].elapsed_time(aside.ended[1]) / KILO)
                device_s -= idle_s
                exposed_s += min(aside.wait_s, idle_s)
        host_s = ended_s - begun_s - inside_s - (0.0 if self._cuda else step.inner_wait_s)
        unsized = step.unsized if counts is not None else lost
        num_padding, num_loss_tokens = counts or (None, None)
        positions, shapes = 0, []
        for size in step.sizes:
            positions += size.num_positions
            shapes.append((size.rows, size.length))
        of_batches = () if unsized else tuple(shapes)
        taken, skipped, _ = step.updates
        updates = taken - (fused or 0), skipped + (fused or 0)
        sized = of_batches, num_padding, loss, work, others_s, positions, num_loss_tokens, unsized
        return host_s, device_s, wait_s, exposed_s, *sized, *updates

    def _counts(self, steps: list[OpenStep], found: list[Counts]) -> None:
        """Padding, and tokens that bear a loss, of those batches that tell them; None where none does."""
        sizes = [size for step in steps for size in step.sizes]
        paddings = iter(numbers([size.num_padding for size in sizes], self._side))
        losses = iter(numbers([size.num_loss_tokens for size in sizes], self._side))
        for step in steps:
            num = len(step.sizes)
            found.append((_sum(islice(paddings, num)), _sum(islice(losses, num))))

    def _losses(self, steps: list[OpenStep], found: list[float | None]) -> None:
        """The sum of the parts that were given, else the mean of the losses."""
        given = [step.parts or step.losses for step in steps]
        values = iter(numbers([value for losses in given for value, _ in losses], self._side))
        for step, losses in zip(steps, given, strict=True):
            known = [times * next(values) for _, times in losses]
            found.append((sum(known) if step.parts else sum(known) / len(known)) if known else None)

    def _works(self, steps: list[OpenStep], found: list[Work | None]) -> None:
        for step in steps:
            found.append(self._work_of(step.passes))

    def _fused(self, steps: list[OpenStep], found: list[int]) -> None:
        """Steps of fused optimizers that looked at their gradients themselves, and skipped."""
        looked = iter(numbers([value for step in steps for value in step.updates.found_inf], self._side))
        for step in steps:
            found.append(sum([next(looked) > 0 for _ in step.updates.found_inf]))


def _sum(counts: Iterable[Any]) -> int | None:
    known = [count for count in counts if count is not None]
    return round(sum(known)) if known else None


def numbers(values: list[Any], side: Any) -> list[Any]:
    """Numbers and scalars of steps that a device has finished; None stays.

    Scalars on a device are read together, one copy for each dtype, through a stream of their own: the queue is not waited for.
    """
    if side is None:
        return [value if value is None else float(value) for value in values]
    found, alike = list(values), defaultdict(list)
    for place, value in enumerate(values):
        if type(value) is torch.Tensor:
            alike[value.device, value.dtype].append(place)
    with torch.cuda.stream(side):
        for places in alike.values():
            together = torch.stack([values[place].reshape(()) for place in places]).tolist()
            for place, number in zip(places, together, strict=True):
                found[place] = number
        return [value if value is None else float(value) for value in found]
