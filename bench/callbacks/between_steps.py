"""The time between two steps of a training: a wait for data, or one of others."""

from __future__ import annotations

import time


class BetweenSteps:
    """Of one loop, in seconds of `time.perf_counter`.

    Attributes:
        free_since_s: since when the loop has nothing of ours to wait for.
        is_waiting: whether it waits for data since then; else it is held up, or a loader's own wait is told.
    """

    __slots__ = ("_left_s", "free_since_s", "is_waiting")

    def __init__(self) -> None:
        self.free_since_s, self.is_waiting = time.perf_counter(), False
        self._left_s: float | None = None

    def wait_from(self, now_s: float, left_s: float | None = None) -> None:
        """The loop goes to fetch data.

        Args:
            left_s: when the step that has ended was left: what comes until the next, and is no wait for data, is of others.
        """
        self.free_since_s, self.is_waiting = now_s, True
        if left_s is not None:
            self._left_s = left_s

    def came(self, came_s: float, wait_s: float | None) -> tuple[float, float]:
        """The next step begins.

        Args:
            wait_s: how long data were waited for, where it was measured; None: since the loop was free.

        Returns:
            The wait for data, and the time of others before it.
        """
        if wait_s is None:
            wait_s = came_s - self.free_since_s if self.is_waiting else 0.0
        left_s, self._left_s = self._left_s, None
        return wait_s, 0.0 if left_s is None else max(0.0, came_s - left_s - wait_s)

    def of_others(self, now_s: float) -> float:
        """Seconds since a step was left, until now; 0 where none was. It is left no longer."""
        left_s, self._left_s = self._left_s, None
        return 0.0 if left_s is None else max(0.0, now_s - left_s)

    def leave_out(self, own_s: float) -> None:
        """So long was ours: neither a wait for data nor a time of others."""
        self.free_since_s += own_s
        if self._left_s is not None:
            self._left_s += own_s
