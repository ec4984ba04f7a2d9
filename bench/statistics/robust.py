"""Robust statistics on plain sequences: median, spread, quantiles, interval of the median.

Nothing here filters: an outlier weighs as one sample and is never removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MAD_TO_SIGMA = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation of normal data estimate its standard deviation."""


def quantile(samples: Sequence[float], fraction: float) -> float:
    """The quantile at `fraction`, interpolated linearly between order statistics (type 7 of Hyndman and Fan, 1996).

    >>> quantile([1.0, 2.0, 4.0, 8.0], 0.25)
    1.75
    """
    assert len(samples), "no samples"
    return float(np.quantile(samples, fraction))


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the middle two.

    >>> median([3.0, 1.0, 2.0]), median([4.0, 1.0, 2.0, 3.0])
    (2.0, 2.5)
    """
    assert len(samples), "no samples"
    return float(np.median(samples))


def mad(samples: Sequence[float]) -> float:
    """Median absolute deviation from the median, unscaled.

    >>> mad([1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0])
    1.0
    """
    return float(np.median(np.abs(np.asarray(samples) - median(samples))))


def relative_spread(samples: Sequence[float]) -> float | None:
    """Scaled MAD over the median: what the standard deviation would be of the mean, were the samples normal.

    None where the median is not positive.
    """
    middle = median(samples)
    return MAD_TO_SIGMA * mad(samples) / middle if middle > 0 else None


def lag1_autocorrelation(samples: Sequence[float]) -> float:
    """Correlation of each sample with the next, about the common mean; 0 for constant data.

    r = sum (x_i - m)(x_(i+1) - m) / sum (x_i - m)^2

    >>> lag1_autocorrelation([1.0, -1.0, 1.0, -1.0])
    -0.75
    """
    if min(samples) == max(samples):
        return 0.0
    centred = np.asarray(samples) - np.mean(samples)
    return float(centred[:-1] @ centred[1:] / (centred @ centred))


def interval_rank(num_samples: int, confidence: float) -> int | None:
    """The largest r for which the r-th smallest and r-th largest samples enclose the median with `confidence`.

    They do with probability 1 - 2 P(Binomial(n, 1/2) < r), whatever the distribution. None where even
    the extremes do not reach the confidence (at 95 %: fewer than 6 samples).

    Source: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.

    >>> interval_rank(10, 0.95), interval_rank(5, 0.95)
    (2, None)
    """
    tail, rank = 0.0, 0
    for successes in range(num_samples // 2 + 1):
        log_ways = math.lgamma(num_samples + 1) - math.lgamma(successes + 1) - math.lgamma(num_samples - successes + 1)
        tail += math.exp(log_ways - num_samples * math.log(2))
        if 2 * tail > 1 - confidence:
            break
        rank = successes + 1
    return rank or None


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Confidence interval of the median from order statistics; None where there are too few samples.

    Successive steps of one run are not independent. Where the lag-1 autocorrelation r is positive beyond chance
    (r > 1.96 / sqrt(n)), the ranks are those of n (1 - r) / (1 + r) independent samples, which widens the interval.

    >>> median_interval([1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0, 10.0, 9.0])
    (2.0, 9.0)
    """
    num_samples = len(samples)
    if num_samples < 2:
        return None
    correlation = lag1_autocorrelation(samples)
    independent = num_samples
    if correlation > 1.96 / math.sqrt(num_samples):
        independent = math.floor(num_samples * (1 - correlation) / (1 + correlation))
    rank = interval_rank(independent, confidence)
    if rank is None:
        return None
    below = (rank - 1) * (num_samples - 1) // (independent - 1)
    ordered = sorted(samples)
    return ordered[below], ordered[num_samples - 1 - below]
