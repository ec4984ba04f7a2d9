"""Robust statistics on plain sequences: median, spread, quantiles, interval of the median, outliers.

Nothing here filters: an outlier is flagged, never removed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

MAD_TO_SIGMA = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation of normal data estimate its standard deviation."""

OUTLIER_SCORE = 3.5
"""Modified z above which a sample is flagged: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, section 3.2."""


def quantile(samples: Sequence[float], fraction: float) -> float:
    """The quantile at `fraction`, interpolated linearly between order statistics (type 7 of Hyndman and Fan, 1996).

    With the samples sorted as x_0 ... x_(n-1) and h = (n - 1) * fraction, the value is x_floor(h) plus the
    rest of h times the gap to the next one.

    >>> quantile([1.0, 2.0, 4.0, 8.0], 0.25)
    1.75
    """
    assert samples, "no samples"
    assert 0 <= fraction <= 1, fraction
    ordered = sorted(samples)
    position = (len(ordered) - 1) * fraction
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the middle two.

    >>> median([3.0, 1.0, 2.0]), median([4.0, 1.0, 2.0, 3.0])
    (2.0, 2.5)
    """
    return quantile(samples, 0.5)


def mad(samples: Sequence[float]) -> float:
    """Median absolute deviation from the median, unscaled.

    >>> mad([1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0])
    1.0
    """
    middle = median(samples)
    return median([abs(x - middle) for x in samples])


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
    mean = math.fsum(samples) / len(samples)
    centred = [x - mean for x in samples]
    square = math.fsum(c * c for c in centred)
    return math.fsum(a * b for a, b in itertools.pairwise(centred)) / square if square > 0 else 0.0


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


def modified_z(samples: Sequence[float]) -> list[float]:
    """Distance of each sample from the median in robust standard deviations.

    (x - median) / (1.4826 MAD), or over 1.2533 mean absolute deviations where the MAD is 0 (more than half
    of the samples equal); 0 where all samples are equal.
    """
    middle = median(samples)
    scale = MAD_TO_SIGMA * mad(samples) or math.sqrt(math.pi / 2) * math.fsum(abs(x - middle) for x in samples) / len(samples)
    return [(x - middle) / scale if scale > 0 else 0.0 for x in samples]


def outliers(samples: Sequence[float]) -> list[bool]:
    """Per sample, whether its modified z is above 3.5 in either direction.

    >>> outliers([10.0, 11.0, 9.0, 10.0, 12.0, 30.0])
    [False, False, False, False, False, True]
    """
    return [abs(z) > OUTLIER_SCORE for z in modified_z(samples)]
