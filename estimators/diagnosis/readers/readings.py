"""Readings of one run, kept in bounded memory: their median and spread without the first steps, and their course."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from estimators.diagnosis.observed import Figure, Included, Quantity, Scope, Series, Skipped
from estimators.diagnosis.words import significant

MOST_POINTS = 4096
"""Of a series; of a longer one neighbours are taken together by their median."""

FIRST_STEPS = 10
"""Of a run, left out of a median: compilation, warm caches, the allocator. Assumed; several tools skip as many."""

SHOWN = 16
"""Readings whose digits are counted: a tool prints all alike."""

RECENT = 16
"""Readings that another rank's line of the same step may lie behind."""


class Course:
    """One quantity over the steps of a run.

    Args:
        source: who says it, such as ``tps``.
        size: of the unit that was printed, in base units.
        includes, cumulative: as of a figure.
    """

    def __init__(
        self,
        quantity: Quantity,
        scope: Scope,
        source: str,
        *,
        size: float = 1.0,
        includes: tuple[Included, ...] = (),
        cumulative: bool = False,
    ) -> None:
        self.quantity, self.scope, self.source, self.size = quantity, scope, source, size
        self.includes, self.cumulative = includes, cumulative
        self.steps: list[int] = []
        self.values: list[float] = []
        self.number, self.digits = 0, 0
        self._each, self._pending = 1, list[float]()

    def add(self, step: int, value: float, digits: int = 0) -> None:
        """One reading."""
        self.number += 1
        self.digits = max(self.digits, digits)
        if self._each > 1:
            self._pending.append(value)
            if len(self._pending) < self._each:
                return
            value = median(self._pending)
            self._pending.clear()
        self.steps.append(step)
        self.values.append(value)
        if len(self.values) > MOST_POINTS:
            self.steps = self.steps[1::2]
            self.values = [median(pair) for pair in zip(self.values[0::2], self.values[1::2], strict=False)][: len(self.steps)]
            self._each *= 2

    def without_first(self) -> tuple[list[int], list[float]]:
        """Steps and values behind the first steps: at least one reading goes where there are two, at most half of them."""
        count = len(self.values)
        if count < 2:
            return self.steps, self.values
        until = self.steps[0] + FIRST_STEPS
        early = sum(step < until for step in self.steps)
        drop = max(1, min(early, count // 2))
        return self.steps[drop:], self.values[drop:]

    @property
    def num_dropped(self) -> int:
        """Readings that are first steps."""
        return (len(self.values) - len(self.without_first()[1])) * self._each

    def figure(self) -> Figure | None:
        """The median, in base units; None where nothing was read."""
        values = sorted(self.without_first()[1])
        if not values:
            return None
        several = len(values) > 1
        how = f"median of {len(values) * self._each:,}" if several else "one reading"
        return Figure(
            quantity=self.quantity,
            value=median(values) * self.size,
            scope=self.scope,
            source=f"{self.source}, {how}",
            digits=self.digits,
            low=_at(values, 0.1) * self.size if several else None,
            high=_at(values, 0.9) * self.size if several else None,
            num_samples=len(values) * self._each,
            includes=self.includes,
            cumulative=self.cumulative,
        )

    def series(self) -> Series | None:
        """Its course; None of a handful of readings."""
        steps, values = self.without_first()
        if len(values) < 4 or any(after <= before for before, after in pairwise(steps)):
            return None
        return Series(
            quantity=self.quantity,
            scope=self.scope,
            steps=tuple(steps),
            values=tuple(value * self.size for value in values),
            source=self.source,
        )


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


class Steps:
    """Which reading of a step counts: of several ranks' the first, and of steps that are made again after a restart the first.

    Attributes:
        repeated: readings that do not count.
        restarts: of the run, from a checkpoint.
        begins_again: whether another run begins with the last reading taken.
    """

    def __init__(self) -> None:
        self.repeated = self.restarts = 0
        self.begins_again = False
        self._first: int | None = None
        self._last = -1
        self._is_behind = False
        self._recent: dict[int, None] = {}

    def takes(self, step: int) -> bool:
        """Whether a reading of this step counts."""
        self.begins_again = False
        if step <= self._last:
            if step in self._recent or self._first is None or step > self._first:
                self.repeated += 1
                self.restarts += not self._is_behind and step < min(self._recent)
                self._is_behind = self._is_behind or step < min(self._recent)
                return False
            self.begins_again, self._first = True, None
            self._recent.clear()
        self._first = step if self._first is None else self._first
        self._last, self._is_behind = step, False
        self._recent[step] = None
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        return True


def digits_of(text: object) -> int:
    """Significant digits of a number as printed."""
    shown = str(text).strip()
    return significant(shown) if shown[:1].isdigit() else 0


def skipped(what: str, count: int, why: str = "") -> tuple[Skipped, ...]:
    """One entry where something was left out, else none."""
    return (Skipped(what=what, number=count, why=why),) if count > 0 else ()
