"""The bootstrap against published quantiles, closed forms and simulations whose truth is known."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from scipy.stats import t

from bench.statistics import bootstrap, robust
from tests.support.selftest_records import autocorrelated


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 13, 30, 100, 1999])
@pytest.mark.parametrize("probability", [0.9, 0.95, 0.975, 0.99, 0.9995])
def test_student_quantiles_are_scipys(probability: float, freedom: int) -> None:
    assert bootstrap.student_quantile(probability, freedom) == pytest.approx(float(t.ppf(probability, freedom)), rel=1e-4)


def test_sign_covariances_of_a_hand_worked_series() -> None:
    # median 2.5, signs - + + -: lag 0 is 4/4, lag 1 is (-1 + 1 - 1)/4, lag 2 is (-1 - 1)/4
    assert bootstrap.sign_covariances([1, 4, 3, 2], 2).tolist() == [1.0, -0.25, -0.5]


def test_a_short_series_is_rid_of_the_bias_that_its_own_mean_gives_it() -> None:
    # signs + + - -: 4 of variance over 4, (1 - 1 + 1) / 4 of covariance; Kendall 1954 (Biometrika 41): less -(1 + 3r)/n
    assert bootstrap._correlation([2.0, 2.0, 1.0, 1.0]) == math.sin(math.pi / 2 * (1 / 4 + (1 + 3 / 4) / 4))


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.8, 0.95])
def test_the_correlation_of_a_series_is_found_from_its_signs(correlation: float) -> None:
    # the arcsine law; 20,000 samples of AR(1) find their own correlation to some hundredths
    assert bootstrap._correlation(autocorrelated(random.Random(8), 20_000, correlation, heavy=False)) == pytest.approx(
        correlation, abs=0.03
    )


def test_sign_covariances_count_ties_as_neither_side() -> None:
    # median 2, signs - 0 + 0 0, their mean is 0: lag 0 is 2/5, lag 2 is -1/5
    assert bootstrap.sign_covariances([1, 2, 3, 2, 2], 2) == pytest.approx([0.4, 0.0, -0.2])


def test_blocks_grow_with_the_correlation_and_stay_within_a_third() -> None:
    draw = random.Random(1)
    lengths = [bootstrap.block_length(autocorrelated(draw, 2000, r, heavy=False)) for r in (0.0, 0.6, 0.95)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[1] < lengths[2] <= 3 * math.sqrt(2000) + 1
    assert bootstrap.block_length([float(x) for x in range(30)]) <= 10
    assert bootstrap.block_length([1.0]) == 1


def test_the_shortfall_of_blocks_is_the_sum_of_the_correlations_that_they_cut() -> None:
    # AR(1) at r = 0.6: the signs' autocorrelations of a block of 5 summed one by one, against their sum over all lags
    r, b = 0.6, 5
    block = sum(2 / math.pi * math.asin(r ** abs(i - j)) for i in range(b) for j in range(b)) / b
    long = 1 + 2 * sum(2 / math.pi * math.asin(r**lag) for lag in range(1, 200))
    assert bootstrap.block_shortfall(r, b) ** 2 == pytest.approx(long / block)


@pytest.mark.parametrize(
    ("num", "correlation", "heavy", "most_misses"),
    # nominal is 25 of 500; two standard errors of a binomial are 10; the last has a tenth as many independent samples
    [(30, 0.0, False, 35), (100, 0.0, True, 35), (100, 0.5, True, 35), (300, 0.6, False, 35), (200, 0.9, False, 45)],
)
def test_the_interval_misses_the_median_no_more_often_than_it_says(num: int, correlation: float, heavy: bool, most_misses: int) -> None:
    draw = random.Random(num)
    drawn = [bootstrap.median_interval(autocorrelated(draw, num, correlation, heavy=heavy)) for _ in range(500)]
    intervals = [interval for interval in drawn if interval is not None]
    assert len(intervals) >= (495 if correlation < 0.9 else 100)
    assert sum(not low <= 1.0 <= high for low, high in intervals) <= most_misses


def test_an_interval_for_independent_samples_misses_what_is_correlated() -> None:
    """The twin: resampling single steps of a correlated series is refuted by the same simulation."""
    draw = random.Random(2)
    missed = 0
    for _ in range(200):
        samples = autocorrelated(draw, 300, 0.6, heavy=False)
        shuffled = draw.sample(samples, len(samples))
        interval = bootstrap.median_interval(shuffled)
        assert interval is not None
        missed += not interval[0] <= 1.0 <= interval[1]
    assert missed > 30  # nominal: 10


def test_the_same_samples_give_the_same_interval_and_another_seed_other_draws() -> None:
    samples = autocorrelated(random.Random(3), 50, 0.3, heavy=True)
    assert bootstrap.median_interval(samples) == bootstrap.median_interval(samples)
    one, other = (bootstrap.median_draws(samples, seed=seed) for seed in (1, 2))
    assert one != other


def test_more_confidence_is_a_wider_interval() -> None:
    samples = autocorrelated(random.Random(4), 200, 0.3, heavy=False)
    intervals = [bootstrap.median_interval(samples, confidence) for confidence in (0.8, 0.95, 0.99)]
    assert all(outer[0] < inner[0] < inner[1] < outer[1] for inner, outer in pairwise(filter(None, intervals)))
    assert None not in intervals


def test_a_far_outlier_weighs_as_one_sample() -> None:
    samples = [*autocorrelated(random.Random(5), 99, 0.0, heavy=False), 2.0]
    assert bootstrap.median_interval(samples) == bootstrap.median_interval([*samples[:-1], 1e9])


@pytest.mark.parametrize("samples", [[], [1.0], [1.0, 2.0, 3.0, 4.0, 5.0], [float(x) for x in range(8)]])
def test_too_few_or_only_drifting_samples_have_no_interval(samples: list[float]) -> None:
    assert bootstrap.median_interval(samples) is None


def test_equal_samples_have_an_interval_without_width() -> None:
    assert bootstrap.median_interval([0.25] * 40) == (0.25, 0.25)


def test_the_spread_of_the_draws_is_that_of_the_median_of_normal_samples() -> None:
    # the median of n standard normal samples has variance pi / 2n; draws of 40 series, averaged, within a fifth
    draw = random.Random(6)
    variances = []
    for _ in range(40):
        drawn = bootstrap.median_draws([draw.gauss(0, 1) for _ in range(400)], None)
        assert drawn is not None
        mean = sum(drawn.values) / len(drawn.values)
        variances.append(sum((v - mean) ** 2 for v in drawn.values) / len(drawn.values))
    assert robust.median(variances) == pytest.approx(math.pi / 800, rel=0.2)


@pytest.mark.parametrize(
    ("value", "interval", "digits"),
    [
        (18.123, (18.12, 18.126), 3),  # half width 0.003: five are justified, the most is three
        (18.123, (17.9, 18.3), 3),  # 0.2: 18.1
        (18.123, (16.0, 20.0), 2),  # 2: 18
        (18.123, (3.0, 33.0), 1),  # 15: 2e1
        (0.0123, (0.0113, 0.0133), 2),  # 0.001: 0.012
        (0.01, (0.0, 0.9), 1),
        (18.123, None, 3),
        (18.123, (18.123, 18.123), 3),
        (0.0, (-1.0, 1.0), 3),
    ],
)
def test_digits_end_where_the_uncertainty_begins(value: float, interval: tuple[float, float] | None, digits: int) -> None:
    assert bootstrap.justified_digits(value, interval) == digits


def test_sign_covariances_are_the_sums_of_products_to_the_last_digit() -> None:
    draw = random.Random(8)
    for num in (1, 2, 3, 7, 64, 1000, 20_000):
        signs = [draw.choice((-1, 0, 1)) for _ in range(num)]
        if sum(sign < 0 for sign in signs) >= num / 2 or sum(sign > 0 for sign in signs) >= num / 2:
            signs = [0] * num  # the median must be 0, so that they are their own signs
        most = min(num - 1, 40)
        mean = sum(signs) / num
        by_hand = [sum(a * b for a, b in zip(signs, signs[lag:], strict=False)) / num - mean**2 for lag in range(most + 1)]
        assert bootstrap.sign_covariances(signs, most).tolist() == by_hand
