"""Rates between readings of a clock: what a cumulative count or a mean since the start hides."""

from __future__ import annotations

from estimators.diagnosis.observed import Quantity, Skipped
from estimators.diagnosis.readers.readings import Course, skipped

WHOLE_SECONDS = 20.0
"""A window of a clock that shows whole seconds: exact to a twentieth at worst."""


class Windows:
    """Work done and the time that it took, since the start of one run, as a course of rates or of times.

    Args:
        quantity: a rate, or ``step_time_s``.
        min_s: the shortest window.
    """

    def __init__(self, quantity: Quantity, source: str, min_s: float = 0.0) -> None:
        self.course = Course(quantity, "job", source)
        self._min_s = min_s
        self._last: tuple[float, float] | None = None
        self._restarts = 0

    def take(self, step: int, done: float, clock_s: float) -> None:
        """A reading.

        Args:
            done: work since the start: tokens, or steps.
            clock_s: seconds since the start.
        """
        if self._last is not None:
            before, since = self._last
            if done < before or clock_s < since:  # the run was restarted: its clock, and perhaps its count, begin again
                self._restarts += 1
                self._last = (done, clock_s)
                return
            took = clock_s - since
            if took <= self._min_s or done == before:
                return
            per_s = (done - before) / took
            self.course.add(step, 1 / per_s if self.course.quantity == "step_time_s" else per_s)
        self._last = (done, clock_s)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What is in no window that counts."""
        return (
            *skipped("readings of the first steps", self.course.num_dropped, "they hold compilation and start-up"),
            *skipped("windows over a restart", self._restarts, "the clock or the count goes back"),
        )
