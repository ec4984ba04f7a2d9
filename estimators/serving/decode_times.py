"""Decode steps by their context: a line in pieces for each number of sequences, so that a run of steps is summed at once."""

from __future__ import annotations

import math

from estimators.serving.schedule import Law
from estimators.serving.step_batch import StepBatch

PIECES = 32
"""Of the line between no context and the longest: steps bend where a term begins to bind, and are straight between."""


class Stretch:
    """Decode steps of one piece of the line: each takes longer than the one before, by the same time.

    Attributes:
        first_s: of the first step.
        more_s: that each takes longer than the one before.
        steps: that lie in the piece.
    """

    __slots__ = ("first_s", "more_s", "steps")

    def __init__(self, first_s: float, more_s: float, steps: int) -> None:
        """Seconds, seconds, and how many."""
        self.first_s, self.more_s, self.steps = first_s, more_s, steps

    def total_s(self, steps: int) -> float:
        """Of the first so many: n·t + d·n·(n - 1)/2.

        >>> Stretch(1.0, 0.5, 10).total_s(3)
        4.5
        """
        return steps * (self.first_s + self.more_s * (steps - 1) / 2)

    def steps_until(self, elapsed_s: float, at_most: int) -> int:
        """The least number of steps, 0 or more, that take so long or longer; no more than a number of them.

        >>> Stretch(1.0, 0.5, 10).steps_until(2.6, 10)
        3
        """
        if elapsed_s <= 0:
            return 0
        if self.total_s(at_most) < elapsed_s:
            return at_most
        low, high = 0, at_most
        while high - low > 1:
            middle = (low + high) // 2
            if self.total_s(middle) < elapsed_s:
                low = middle
            else:
                high = middle
        return high


class DecodeTimes:
    """Decode steps of a law, asked once for each number of sequences at all places of the line."""

    def __init__(self, law: Law, longest_tokens: int) -> None:
        """Contexts from 0 to the longest."""
        self._law, self._width = law, max(1.0, longest_tokens / PIECES)
        self._lines: dict[int, list[float]] = {}

    def stretch(self, sequences: int, context_tokens: float, growth_tokens: float) -> Stretch:
        """Of so many sequences with that mean context, which grows by as much a step."""
        line = self._lines.get(sequences)
        if line is None:
            line = self._lines[sequences] = self._line(sequences)
        place = min(int(context_tokens / self._width), PIECES - 1)
        slope = (line[place + 1] - line[place]) / self._width
        left = (place + 1) * self._width - context_tokens
        steps = max(1, math.ceil(left / growth_tokens)) if place < PIECES - 1 else 1 << 40
        return Stretch(line[place] + slope * (context_tokens - place * self._width), slope * growth_tokens, steps)

    def _line(self, sequences: int) -> list[float]:
        import numpy as np

        contexts = np.arange(PIECES + 1) * self._width
        total_s = self._law.time(StepBatch(decoding=np.full(PIECES + 1, float(sequences)), context_tokens=contexts)).total_s
        return [float(value) for value in np.broadcast_to(total_s, contexts.shape)]
