"""While a training runs: the figures since they were last asked for, and a line of them on stderr every so many steps."""

from __future__ import annotations

import time

from bench.callbacks import rates
from bench.callbacks.rank_state import RankState
from bench.streams import say

LEAST_LINE_S = 1.0
"""Between two lines, however short the steps."""


class Console:
    """Figures of the steps that were not shown yet.

    Args:
        every: steps between two lines; 0 prints none.
    """

    def __init__(self, state: RankState, every: int) -> None:
        self._state, self._every = state, every
        self._shown, self._line_s = 0, time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Rates since the last call or line; empty before a step has ended, and where they fail."""
        return self._state.guard("rates", self._fresh) or {}

    def _fresh(self) -> dict[str, float]:
        state = self._state
        state.log.settle()
        fresh = state.log.done[self._shown :]
        self._shown = len(state.log.done)
        if not fresh:
            return {}
        peaks = state.peak_memory().values
        held = peaks.get("torch_allocated") or peaks.get("peak_rss")
        memory_bytes = None if held is None else int(held)
        return rates.figures(
            fresh,
            flop_source=state.flop_source,
            bounds=state.bounds,
            item=state.item,
            memory_bytes=memory_bytes,
            energy_j=state.energy.so_far_j(),
        )

    def show(self) -> None:
        """Print a line where enough steps and enough time have passed since the last; the main rank's alone."""
        done, now_s = self._state.log.done, time.perf_counter()
        if not self._every or len(done) - self._shown < self._every or now_s - self._line_s < LEAST_LINE_S:
            return
        if not self._state.exchange.is_main():
            return
        self._line_s = now_s
        num_steps = len(done)
        figures = self.figures()
        line = rates.text(num_steps, figures, num_ranks=self._state.exchange.num_ranks, loss=done[-1].loss)
        say(line)
