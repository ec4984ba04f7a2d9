"""While a training runs: the figures since they were last asked for, and a line of them on stderr every so many steps."""

from __future__ import annotations

import time

from bench.callbacks import rates
from bench.callbacks.rank_state import RankState
from bench.streams import say

LEAST_LINE_S = 1.0
"""Between two lines, however short the steps."""


class Console:
    """Figures of the steps that were not shown yet, in the lines and in somebody's logs each by itself.

    Args:
        every: steps between two lines; 0 prints none.
    """

    def __init__(self, state: RankState, every: int) -> None:
        self._state, self._every = state, every
        self._logged, self._shown, self._line_s = 0, 0, time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Rates since the last call; empty before a step has ended, and where they fail."""
        self._state.log.settle()
        num_steps = len(self._state.log.so_far())
        since, self._logged = min(self._logged, num_steps), num_steps  # fewer than before where held ones were joined
        return self._rates(since)

    def _rates(self, since: int) -> dict[str, float]:
        return self._state.guard("rates", self._fresh, since) or {}

    def _fresh(self, since: int) -> dict[str, float]:
        state = self._state
        fresh = state.log.so_far()[since:]
        if not fresh:
            return {}
        peaks = state.peak_memory().values
        held = peaks.get("torch_allocated") or peaks.get("peak_rss")
        memory_bytes = None if held is None else int(held)
        return rates.figures(
            fresh,
            bounds=state.bounds,
            item=state.item,
            memory_bytes=memory_bytes,
            energy_j=state.energy.so_far_j(),
        )

    def is_due(self, num_ended: int, now_s: float) -> bool:
        """Whether so many steps have ended, read or not, and so much time has passed that there may be a line to print."""
        return bool(self._every) and num_ended - self._shown > self._every and now_s - self._line_s >= LEAST_LINE_S

    def show(self) -> None:
        """Print a line where enough steps and enough time have passed since the last; the main rank's alone."""
        now_s = time.perf_counter()
        if not self._every or now_s - self._line_s < LEAST_LINE_S:
            return
        done = self._state.log.so_far()
        self._shown = min(self._shown, len(done))
        if len(done) - self._shown < self._every:
            return
        self._line_s = now_s
        if not self._state.exchange.is_main():
            return
        num_steps = len(done)
        figures = self._rates(self._shown)
        self._shown = num_steps
        line = rates.text(num_steps, figures, num_ranks=self._state.exchange.num_ranks, loss=done[-1].loss)
        say(line)
