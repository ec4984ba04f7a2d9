"""The ratio of two sides' times as draws, in logarithms: what samples of one record say, or how several records differ."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from bench.statistics import robust
from bench.statistics.bootstrap import NUM_DRAWS, SEED, median_draws, student_quantile


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
    draws: list[float]
    variance: float | None
    records: int
    samples: int


def pooled(series: Sequence[Sequence[float]], confidence: float, seed: int) -> Pooled:
    """One record is judged by its samples; several by how their medians differ, which is never less than their samples say."""
    num, samples = len(series), sum(map(len, series))
    centres = [math.log(robust.median(values)) for values in series]
    centre = math.fsum(centres) / num
    if num == 1:
        drawn = median_draws(series[0], confidence, seed)
        known = drawn is not None and drawn.clipped_fraction <= (1 - confidence) / 2
        return Pooled(centre, [math.log(value) for value in drawn.values] if drawn and known else [], None, 1, samples)
    within = [_variance([math.log(v) for v in d.values]) for values in series if (d := median_draws(values, None, seed))]
    variance = max(_variance(centres), math.fsum(within) / len(within) if within else 0.0)
    return Pooled(centre, [], variance / num, num, samples)


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def ratio_draws(a: Pooled, b: Pooled, confidence: float) -> list[float]:
    """Draws of the log ratio, in no order; none where a side cannot tell.

    Means of several records are drawn from Student's t, by a normal that is widened to it; its degrees of freedom are Welch's
    where both sides have several.

    Source: Welch 1947, The generalization of Student's problem, Biometrika 34 <https://doi.org/10.1093/biomet/34.1-2.28>.
    """
    if any(side.variance is None and not side.draws for side in (a, b)):
        return []
    several = [(side.variance, side.records) for side in (a, b) if side.variance is not None]
    total = math.fsum(variance for variance, _ in several)
    freedom = total**2 / math.fsum(variance**2 / (records - 1) for variance, records in several) if total > 0 else 1.0
    tail = (1 + confidence) / 2
    factor = student_quantile(tail, max(1, math.floor(freedom))) / NormalDist().inv_cdf(tail)

    def draws(side: Pooled, seed: int) -> list[float]:
        if side.variance is None:
            return side.draws
        gauss, spread = random.Random(seed).gauss, factor * math.sqrt(side.variance)
        return [gauss(side.centre, spread) for _ in range(NUM_DRAWS)]

    return [later - earlier for earlier, later in zip(draws(a, SEED), draws(b, SEED + 1), strict=True)]
