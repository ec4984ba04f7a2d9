"""A run's speed over its steps: where it changed, and by how much.

The place is where the sum of centred ranks is farthest from nought (Pettitt 1979), and counts where chance reaches it once in a
thousand; each side is searched again. Ranks know no outlier: a checkpoint's long step moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from estimators.diagnosis.observed import TIMES, Series
from estimators.frozen import frozen
from estimators.units import format_fraction, format_int

CHANCE = 1.95
"""Largest distance of a Brownian bridge from nought that chance passes once in a thousand (Kolmogorov's distribution)."""

LEAST = 0.05
"""Change of speed that is worth a word."""

FEWEST = 8
"""Readings on each side of a change."""


@frozen
class Change:
    """A step from which on the run had another speed.

    Attributes:
        step: the first with it.
        before, after: medians of the series on both sides, up to the next change; in base units.
        ratio: of speed, after over before.
    """

    step: int
    before: float
    after: float
    ratio: float

    def __str__(self) -> str:
        way = "slower" if self.ratio < 1 else "faster"
        return f"from step {format_int(self.step)} on {format_fraction(abs(self.ratio - 1), 2)} {way}"


def changes(series: Series) -> list[Change]:
    """The changes of a run's speed, in order.

    >>> steady = [2.0, 2.01, 1.99, 2.02, 1.98] * 4
    >>> slower = [value / 0.82 for value in steady]
    >>> run = Series(quantity="step_time_s", scope="job", steps=tuple(range(40)), values=(*steady, *slower))
    >>> [str(change) for change in changes(run)]
    ['from step 20 on 18 % slower']
    """
    parts = _parts(series)
    found = []
    for (_, before), (place, after) in pairwise(parts):
        ratio = before / after if series.quantity in TIMES else after / before
        found.append(Change(step=series.steps[place], before=before, after=after, ratio=ratio))
    return found


def slower_fraction(series: Series) -> float:
    """Of a run's time, what its slower parts took beyond what its fastest would have."""
    parts = _parts(series)
    lengths = [
        end - start
        for start, end in zip([start for start, _ in parts], [*(start for start, _ in parts[1:]), len(series.values)], strict=True)
    ]
    times = [middle if series.quantity in TIMES else 1 / middle for _, middle in parts]
    took = sum(length * time for length, time in zip(lengths, times, strict=True))
    return 1 - min(times) * sum(lengths) / took


def _parts(series: Series) -> list[tuple[int, float]]:
    """Where each part of a run begins, and its median; neighbours that differ by less than LEAST are one part."""
    values = series.values
    edges = [0, *_places(values, 0, len(values)), len(values)]
    at = 1
    while at < len(edges) - 1:
        before, after = median(values[edges[at - 1] : edges[at]]), median(values[edges[at] : edges[at + 1]])
        if abs(before / after - 1) < LEAST:
            del edges[at]
            at = max(1, at - 1)
        else:
            at += 1
    return [(start, median(values[start:end])) for start, end in pairwise(edges)]


def _places(values: Sequence[float], start: int, end: int) -> list[int]:
    """Where the second parts begin, of values[start:end]."""
    count = end - start
    if count < 2 * FEWEST:
        return []
    ranks = _ranks(values[start:end])
    spread = sum((rank - (count + 1) / 2) ** 2 for rank in ranks) / count
    if spread == 0:
        return []
    best, at, total = 0.0, 0, 0.0
    for place, rank in enumerate(ranks[:-1], start=1):
        total += rank - (count + 1) / 2
        if abs(total) > best and FEWEST <= place <= count - FEWEST:
            best, at = abs(total), place
    if best / (spread * count) ** 0.5 <= CHANCE:
        return []
    place = start + at
    return [*_places(values, start, place), place, *_places(values, place, end)]


def _ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for place in order[at:end]:
            ranks[place] = (at + 1 + end) / 2
        at = end
    return ranks
