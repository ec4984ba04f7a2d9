"""Moving-block bootstrap of the median: successive steps of one run resemble each other, and an interval must know it.

Only signs are resampled: whether a sample lies above or below the median. A resample whose signs sum to d of n has its median
at the share 1/2 - d/2n of the ordered samples (Bahadur's representation of a quantile), so that no resample is ever sorted, and
outliers, however far, weigh as one. The autocorrelation that sets the block length is that of the signs too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bench.statistics import robust

SEED = 20260101
"""The draws are the same for the same samples, on every machine."""

NUM_DRAWS = 1000
MAX_BLOCKS = 2000
"""Blocks of a resample at most: longer series get longer blocks, which costs nothing but draws."""

MAX_CORRELATION, NUM_LAGS = 0.99, 1500
"""Beyond it a series is non-stationary, and no block of it is a sample of anything: the correction stays finite, and its sum ends."""

MIN_SAMPLES = 6
"""Fewer do not enclose their median with 95 %, whatever they are: see bench.statistics.robust.interval_rank."""


def block_length(samples: Sequence[float]) -> int:
    """Samples per block, by the automatic rule of Politis and White on the signs of the samples about their median.

    b = (2 G^2 / D)^(1/3) n^(1/3) with G = sum w(k/M) |k| R(k), D = 4/3 (sum w(k/M) R(k))^2 over |k| <= M, w the flat-top window,
    and M twice the lag after which no autocorrelation R stands out. At least 2/3 n^(1/3), the order of the best length
    for any weakly dependent series, and at most a third of the samples.

    Source: Politis and White 2004, Automatic block-length selection for the dependent bootstrap, with the correction of
    Patton, Politis and White 2009 <https://doi.org/10.1080/07474930802459016>.

    >>> block_length([1.0, 3.0, 1.0, 2.0, 2.0, 3.0, 3.0, 1.0]), block_length([1.0] * 100 + [2.0] * 100)
    (1, 26)
    """
    num = len(samples)
    least, most = max(1, round(2 / 3 * math.cbrt(num))), max(1, math.ceil(min(3 * math.sqrt(num), num / 3)))
    covariances = sign_covariances(samples, min(num - 1, math.ceil(math.sqrt(num)) + _quiet_lags(num)) if num > 1 else 0)
    if covariances[0] <= 0:
        return min(least, most)
    last = min(2 * _last_correlated_lag(covariances, num), len(covariances) - 1)
    lags = np.arange(1, last + 1)
    weighted = np.minimum(1, 2 * (1 - lags / last)) * covariances[1 : last + 1]
    slope, spectrum = 2 * float(lags @ weighted), float(covariances[0] + 2 * weighted.sum())
    if spectrum <= 0:
        return min(least, most)
    best = math.cbrt(2 * slope**2 / (4 / 3 * spectrum**2)) * math.cbrt(num)
    return min(max(least, math.ceil(best)), most)


def _quiet_lags(num: int) -> int:
    """Lags in a row that must not stand out before the correlation counts as over."""
    return max(5, math.ceil(math.sqrt(math.log10(num))))


def _last_correlated_lag(covariances: npt.NDArray[np.float64], num: int) -> int:
    """The smallest lag after which as many lags as `_quiet_lags` says lie within chance; the last that does not, if there is none."""
    chance, quiet = 2 * math.sqrt(math.log10(num) / num) * covariances[0], _quiet_lags(num)
    loud = np.flatnonzero(np.abs(covariances[1:]) >= chance) + 1
    ends = np.flatnonzero(np.diff(loud, prepend=0) > quiet)
    counted = loud[: ends[0]] if len(ends) else loud
    return int(counted[-1]) if len(counted) else 0


def sign_covariances(samples: Sequence[float], most_lag: int) -> npt.NDArray[np.float64]:
    """Autocovariance of the signs about the median at lags 0 to `most_lag`; their products are whole numbers, so the transform is exact."""
    num, signs = len(samples), _signs(samples)
    size = 1 << (num + most_lag).bit_length()
    products = np.rint(np.fft.irfft(np.abs(np.fft.rfft(signs, size)) ** 2, size)[: most_lag + 1])
    return products / num - np.mean(signs) ** 2


def _signs(samples: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.sign(np.asarray(samples, dtype=float) - robust.median(samples))


def block_shortfall(correlation: float, block: int) -> float:
    """Standard deviation of a long mean of signs over what blocks of that length show of it, for a series of that lag-1 correlation.

    Blocks cut correlations at their ends. Of a Gaussian series whose correlation dies off as r^k, the signs' dies off as
    R(k) = 2/pi arcsin(r^k), slower than their own at lag 1 says. The variance per sample of a long mean is L = 1 + 2 sum R(k), a block
    of b shows 1 + 2 sum (1 - k/b) R(k) over k < b. 1 where r is not positive.

    Source: Van Vleck and Middleton 1966, The spectrum of clipped noise, Proceedings of the IEEE 54 (1), for the arcsine; the variance of
    a mean, Priestley 1981, Spectral Analysis and Time Series, section 5.3.2.

    >>> round(block_shortfall(0.5, 1) ** 2, 3), round(block_shortfall(0.5, 10**6), 3), block_shortfall(-0.5, 4)
    (2.307, 1.0, 1.0)
    """
    if correlation <= 0:
        return 1.0
    lags = np.arange(1, NUM_LAGS + 1)
    of_signs = 2 / math.pi * np.arcsin(min(correlation, MAX_CORRELATION) ** lags)
    long, shown = 1 + 2 * float(of_signs.sum()), 1 + 2 * float((np.maximum(0, 1 - lags / block) * of_signs).sum())
    return math.sqrt(long / shown)


def _correlation(samples: Sequence[float]) -> float:
    """Lag-1 correlation of the series that has these signs: sin(pi/2 R) of that of the signs, R.

    R is taken less the bias -(1 + 3R)/n that a series' own mean gives it (Kendall 1954, Biometrika 41).
    """
    variance, covariance = sign_covariances(samples, 1)
    seen = covariance / variance if variance > 0 else 0.0
    return math.sin(math.pi / 2 * min(1.0, seen + (1 + 3 * seen) / len(samples)))


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t, for `freedom` degrees and a probability above 1/2.

    Exact for 1 and 2 degrees; else Hill's expansion, right to four digits or better for probabilities from 0.9 to 0.999.

    Source: Hill 1970, Algorithm 396, Communications of the ACM 13 (10) <https://doi.org/10.1145/355598.355600>.

    >>> [round(student_quantile(0.975, freedom), 3) for freedom in (1, 2, 3, 10)]
    [12.706, 4.303, 3.182, 2.228]
    """
    assert 0.5 < probability < 1, probability
    assert freedom >= 1, freedom
    two_tails = 2 * (1 - probability)
    if freedom == 1:
        return 1 / math.tan(two_tails * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (two_tails * (2 - two_tails)) - 2)
    n = freedom
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y: float = (d * two_tails) ** (2 / n)
    if y > 0.05 + a:
        x = -NormalDist().inv_cdf(probability)
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)


def widening(groups: int, confidence: float) -> float:
    """Factor on a bootstrap's deviations for the few groups it drew from: sqrt(g / (g - 1)) t / z, which tends to 1.

    A resample of g groups varies by (g - 1) / g too little, and its spread is itself only known to g - 1 degrees of freedom.

    >>> round(widening(5, 0.95), 3), round(widening(1000, 0.95), 3)
    (1.584, 1.002)
    """
    assert groups >= 2, "a spread needs two groups"
    tail = (1 + confidence) / 2
    return math.sqrt(groups / (groups - 1)) * student_quantile(tail, groups - 1) / NormalDist().inv_cdf(tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianDraws:
    """Medians, or means, of resamples of one series, in order of drawing.

    Attributes:
        values: one per resample.
        clipped_fraction: share of resamples whose median lies beyond the samples: no interval can be read where they count.
    """

    values: tuple[float, ...]
    clipped_fraction: float


def median_draws(samples: Sequence[float], confidence: float | None = 0.95, seed: int = SEED) -> MedianDraws | None:
    """Medians of 1,000 circular moving-block resamples; None with fewer than 6 samples.

    Without a confidence they spread by their standard error; with one, by so much more that its quantiles hold for few blocks.
    """
    num = len(samples)
    if num < MIN_SAMPLES:
        return None
    block = max(block_length(samples), math.ceil(num / MAX_BLOCKS))
    blocks = math.ceil(num / block)
    signs, last = _signs(samples), num - 1
    totals = np.cumsum(np.concatenate(([0], signs, signs[: block - 1])))
    sums = totals[block:] - totals[:-block]
    factor = math.sqrt(blocks / (blocks - 1)) if confidence is None else widening(blocks, confidence)
    share = factor * block_shortfall(_correlation(samples), block) / (2 * blocks * block)
    drawn = np.random.default_rng(seed).choice(sums, (NUM_DRAWS, blocks)).sum(axis=1) - blocks * sums.mean()
    positions = (0.5 - share * drawn) * last
    return MedianDraws(
        values=tuple(np.interp(positions, np.arange(num), np.sort(samples)).tolist()),
        clipped_fraction=float(np.mean((positions < 0) | (positions > last))),
    )


def mean_draws(samples: Sequence[float], sizes: Sequence[float], confidence: float | None = 0.95, seed: int = SEED) -> MedianDraws | None:
    """Means of resamples as those of `median_draws`, of samples that are the longer the larger what they process.

    What is resampled are the rests about the line x = a + b w through the samples, so that the same sizes in another order, or
    drawn more or less often, are no difference of the times.

    Source: Cochran 1977, Sampling Techniques, 3rd ed., section 7.2, for the variance of a mean by regression on what is known.
    """
    num = len(samples)
    if num < MIN_SAMPLES:
        return None
    times, weights = np.asarray(samples, dtype=float), np.asarray(sizes, dtype=float)
    apart = weights - weights.mean()
    slope = float(apart @ times / (apart @ apart)) if apart.any() else 0.0
    rests = times - times.mean() - slope * apart
    block = max(block_length(rests.tolist()), math.ceil(num / MAX_BLOCKS))
    blocks = math.ceil(num / block)
    totals = np.cumsum(np.concatenate(([0.0], rests, rests[: block - 1])))
    sums = totals[block:] - totals[:-block]
    factor = math.sqrt(blocks / (blocks - 1)) if confidence is None else widening(blocks, confidence)
    drawn = np.random.default_rng(seed).choice(sums, (NUM_DRAWS, blocks)).sum(axis=1) - blocks * sums.mean()
    means = times.mean() + factor * block_shortfall(_correlation(rests.tolist()), block) * drawn / (blocks * block)
    return MedianDraws(values=tuple(means[means > 0].tolist()), clipped_fraction=float(np.mean(means <= 0)))


def mean_interval(samples: Sequence[float], sizes: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Interval of the mean of samples that differ in size, for these sizes; None where there are too few independent samples."""
    return _interval(mean_draws(samples, sizes, confidence), confidence)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Interval of the median that knows of autocorrelation; None where there are too few independent samples for the confidence.

    >>> low, high = median_interval([float(37 * i % 101) for i in range(101)])
    >>> 35 < low < 50 < high < 65
    True
    """
    return _interval(median_draws(samples, confidence), confidence)


def _interval(draws: MedianDraws | None, confidence: float) -> tuple[float, float] | None:
    tail = (1 - confidence) / 2
    if draws is None or draws.clipped_fraction > tail:
        return None
    low, high = np.quantile(draws.values, (tail, 1 - tail)).tolist()
    return low, high


def justified_digits(value: float, interval: tuple[float, float] | None, most: int = 3) -> int:
    """Significant digits of `value` that its interval supports: down to the leading digit of the half width, 1 to `most`.

    `most` where there is no interval to judge by, or one without width.

    >>> justified_digits(18.12, (17.9, 18.3)), justified_digits(18.12, (5.0, 35.0)), justified_digits(18.12, None)
    (3, 1, 3)
    """
    if interval is None or value == 0:
        return most
    half = (interval[1] - interval[0]) / 2
    if half <= 0:
        return most
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(half)) + 1
    return min(max(digits, 1), most)
