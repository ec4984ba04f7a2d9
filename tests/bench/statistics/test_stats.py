"""Statistics against hand-worked values, published tables and the standard library."""

import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics import robust

finite_lists = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(finite_lists)
def test_the_median_is_the_standard_librarys(samples: list[float]) -> None:
    assert robust.median(samples) == pytest.approx(statistics.median(samples), rel=1e-12, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(1, 99))
def test_quantiles_are_the_standard_librarys_inclusive_ones(samples: list[float], percent: int) -> None:
    expected = statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]
    assert robust.quantile(samples, percent / 100) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("of_none", [robust.median, lambda samples: robust.quantile(samples, 0.5)])
def test_nothing_has_no_median(of_none: Callable[[list[float]], float]) -> None:
    with pytest.raises(AssertionError, match="no samples"):
        of_none([])


def test_the_mad_of_a_hand_worked_example() -> None:
    # sorted: 1 1 2 2 4 6 9, median 2; deviations sorted: 0 0 1 1 2 4 7, median 1
    assert robust.mad([9, 1, 2, 6, 2, 1, 4]) == 1
    assert robust.relative_spread([9, 1, 2, 6, 2, 1, 4]) == pytest.approx(1.4826 / 2)


def test_a_spread_relative_to_nothing_is_absent() -> None:
    assert robust.relative_spread([0.0, 0.0, 0.0]) is None


def test_lag1_autocorrelation_of_a_hand_worked_ramp() -> None:
    # 1 2 3 4, mean 2.5: (1.5 * 0.5 - 0.5 * 0.5 + 0.5 * 1.5) / (2 * 1.5^2 + 2 * 0.5^2) = 1.25 / 5
    assert robust.lag1_autocorrelation([1, 2, 3, 4]) == pytest.approx(0.25)
    assert robust.lag1_autocorrelation([7, 7, 7]) == 0


@pytest.mark.parametrize(
    ("num_samples", "rank"),
    # Dixon and Massey, Introduction to Statistical Analysis, 3rd ed., table A-25: k for 95 % intervals of the median
    [(5, None), (6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (17, 5), (20, 6), (23, 7), (25, 8), (30, 10), (40, 14), (50, 18)],
)
def test_ranks_of_the_95_percent_interval_are_the_published_ones(num_samples: int, rank: int | None) -> None:
    assert robust.interval_rank(num_samples, 0.95) == rank


def test_the_interval_of_independent_samples_is_between_two_order_statistics() -> None:
    # n = 9, rank 2: the second smallest and the second largest; this order has no positive autocorrelation
    assert robust.median_interval([1, 9, 2, 8, 3, 7, 4, 6, 5]) == (2, 8)


@pytest.mark.parametrize("samples", [[], [1.0], [1.0, 2.0, 1.0, 2.0, 1.0]])
def test_too_few_samples_have_no_interval(samples: list[float]) -> None:
    assert robust.median_interval(samples) is None


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    # 1,000 draws of 25 from a skewed distribution whose median is 1; exact coverage for rank 8 of 25 is 95.7 %
    draw = random.Random(1)
    intervals = [robust.median_interval([draw.lognormvariate(0, 1) for _ in range(25)]) for _ in range(1000)]
    covered = sum(low <= 1 <= high for low, high in filter(None, intervals))
    assert 935 <= covered <= 980


def test_samples_that_follow_each_other_widen_the_interval() -> None:
    draw = random.Random(2)
    values = [draw.gauss(0, 1) for _ in range(50)]
    doubled = [value for value in values for _ in range(2)]
    shuffled = draw.sample(doubled, len(doubled))
    assert robust.lag1_autocorrelation(doubled) > 0.3
    together, apart = robust.median_interval(doubled), robust.median_interval(shuffled)
    assert together is not None
    assert apart is not None
    assert together[0] < apart[0] < apart[1] < together[1]


def test_a_steady_drift_has_no_interval() -> None:
    # 100 samples of a ramp are worth 100 (1 - r) / (1 + r) independent ones, r = 0.97: one or two
    assert robust.median_interval([float(i) for i in range(100)]) is None


def test_an_outlier_never_moves_the_median() -> None:
    assert robust.median([10, 9, 11, 12, 10, 30]) == robust.median([10, 9, 11, 12, 10, 3000])
