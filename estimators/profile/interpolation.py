"""Interpolation of measured times: over (m, n, k) of matrix products, and along a curve of sizes.

Times are interpolated in the logarithms of size and time, where a rate that saturates is nearly straight. Outside
the measured range nothing is invented: the nearest edge's rate goes on, and the caller is told.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence

from estimators.frozen import field, frozen

Mnk = tuple[int, int, int]


@frozen
class Grid:
    """Seconds of x[m, k] · W[n, k]ᵀ on a full grid of shapes.

    Attributes:
        ms, ns, ks: the grid's lines, ascending.
        seconds_s: by (m, n, k); complete.
    """

    ms: tuple[int, ...]
    ns: tuple[int, ...]
    ks: tuple[int, ...]
    seconds_s: Mapping[Mnk, float] = field(hash=False)

    def seconds(self, mnk: Mnk) -> tuple[float, bool]:
        """Seconds at a shape, and whether it lies within the grid.

        Trilinear in log m, log n, log k of log seconds. Beyond the grid the time of the nearest shape on its edge is
        scaled by the work: m n k over that shape's, downwards only along lines that weigh on the time.

        >>> grid = Grid(ms=(1, 4), ns=(8,), ks=(8,), seconds_s={(1, 8, 8): 1.0, (4, 8, 8): 4.0})
        >>> [round(s, 9) for s in (grid.seconds((2, 8, 8))[0], grid.seconds((8, 8, 8))[0])], grid.seconds((8, 8, 8))[1]
        ([2.0, 8.0], False)
        """
        lines = (self.ms, self.ns, self.ks)
        inside = tuple(min(max(size, line[0]), line[-1]) for size, line in zip(mnk, lines, strict=True))
        brackets = [_bracket(line, size) for line, size in zip(lines, inside, strict=True)]
        logarithm = 0.0
        for corner in itertools.product(*brackets):
            weight = math.prod(w for _, w in corner)
            if weight:
                m, n, k = (at for at, _ in corner)
                logarithm += weight * math.log(self.seconds_s[m, n, k])
        scale = math.prod(mnk) / math.prod(inside)
        return math.exp(logarithm) * scale, inside == mnk


def _bracket(line: Sequence[int], size: int) -> list[tuple[int, float]]:
    """The neighbouring grid lines and their weights, in the logarithm of size."""
    above = bisect.bisect_left(line, size)
    if line[above] == size:
        return [(size, 1.0)]
    low, high = line[above - 1], line[above]
    weight = math.log(size / low) / math.log(high / low)
    return [(low, 1 - weight), (high, weight)]


def along(curve: Sequence[tuple[float, float]], size: float) -> tuple[float, bool]:
    """Seconds at a size on a curve of (size, seconds), and whether it lies within.

    Straight between neighbours in both logarithms. Below the smallest size the smallest time holds, since a launch is
    what it is; above the largest, time grows with the size.

    >>> curve = [(10.0, 1.0), (1000.0, 100.0)]
    >>> [(round(seconds, 9), inside) for seconds, inside in (along(curve, 100.0), along(curve, 2000.0))]
    [(10.0, True), (200.0, False)]
    """
    assert curve, "an empty curve"
    first, last = curve[0], curve[-1]
    if size <= first[0]:
        return first[1], size == first[0]
    if size >= last[0]:
        return last[1] * size / last[0], size == last[0]
    above = bisect.bisect_left([x for x, _ in curve], size)
    (x0, y0), (x1, y1) = curve[above - 1], curve[above]
    weight = math.log(size / x0) / math.log(x1 / x0)
    return math.exp((1 - weight) * math.log(y0) + weight * math.log(y1)), True
