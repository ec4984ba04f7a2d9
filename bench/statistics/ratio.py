"""The ratio of two sides' times as draws, in logarithms: what samples of one record say, or how several records differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bench.statistics import robust
from bench.statistics.bootstrap import NUM_DRAWS, SEED, MedianDraws, mean_draws, median_draws, student_quantile

_NORMAL = np.array([NormalDist().inv_cdf((at + 0.5) / NUM_DRAWS) for at in range(NUM_DRAWS)])
"""As many quantiles of the standard normal as there are draws: what they say of it is free of chance."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """One side of one phase.

    Attributes:
        centre: mean log median of the records.
        draws: of the log median of a single record, widened for its few blocks; empty where too few samples can tell.
        variance: of the centre, from how several records differ; None of a single record.
        records, samples: how much went in.
    """

    centre: float
    draws: npt.NDArray[np.float64]
    variance: float | None
    records: int
    samples: int


def pooled(series: Sequence[Sequence[float]], confidence: float, seed: int, sizes: Sequence[Sequence[float]] | None = None) -> Pooled:
    """One record is judged by its samples; several by how their medians differ, which is never less than their samples say.

    Args:
        series: the samples of each record.
        sizes: what each sample processes, where samples differ in it: of such, means are judged and not medians.
    """
    num, samples = len(series), sum(map(len, series))
    centres = [math.log(robust.median(values) if sizes is None else math.fsum(values) / len(values)) for values in series]
    centre = math.fsum(centres) / num

    def resampled(at: int, confidence: float | None) -> MedianDraws | None:
        if sizes is None:
            return median_draws(series[at], confidence, seed)
        return mean_draws(series[at], sizes[at], confidence, seed)

    if num == 1:
        drawn = resampled(0, confidence)
        known = drawn is not None and drawn.clipped_fraction <= (1 - confidence) / 2
        return Pooled(centre, np.log(drawn.values if drawn and known else []), None, 1, samples)
    within = [np.var(np.log(d.values), ddof=1) for at in range(num) if (d := resampled(at, None))]
    variance = max(float(np.var(centres, ddof=1)), float(np.mean(within)) if within else 0.0)
    return Pooled(centre, np.array([]), variance / num, num, samples)


def ratio_draws(a: Pooled, b: Pooled, confidence: float) -> npt.NDArray[np.float64]:
    """Draws of the log ratio, in no order; none where a side cannot tell.

    Means of several records differ by Student's t, whose quantiles are those of a normal widened to it; its degrees of freedom are
    Welch's where both sides have several.

    Source: Welch 1947, The generalization of Student's problem, Biometrika 34 <https://doi.org/10.1093/biomet/34.1-2.28>.
    """
    if any(side.variance is None and not side.draws.size for side in (a, b)):
        return np.array([])
    several = [(side.variance, side.records) for side in (a, b) if side.variance is not None]
    total = math.fsum(variance for variance, _ in several)
    freedom = total**2 / math.fsum(variance**2 / (records - 1) for variance, records in several) if total > 0 else 1.0
    tail = (1 + confidence) / 2
    factor = student_quantile(tail, max(1, math.floor(freedom))) / NormalDist().inv_cdf(tail)
    means = [side.draws if side.variance is None else side.centre for side in (a, b)]
    return means[1] - means[0] + factor * math.sqrt(total) * np.random.default_rng(SEED).permutation(_NORMAL)
