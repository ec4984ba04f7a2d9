"""The fastest, the cheapest and the best value of several offers: by hand."""

from __future__ import annotations

from estimators.training.offers import Offer, best_offers

PLAIN, FAST, CHEAP = Offer(time=2, cost_usd=50), Offer(time=1, cost_usd=120), Offer(time=8, cost_usd=40)


def test_the_best_value_is_the_least_time_times_cost() -> None:
    assert best_offers([FAST, CHEAP, PLAIN]) == {"fastest": 0, "cheapest": 1, "best value": 2}  # 120, 320 and 100


def test_what_does_not_fit_has_no_mark() -> None:
    best = Offer(time=0.1, cost_usd=1, fits=False)
    assert best_offers([best, PLAIN]) == {"fastest": 1, "cheapest": 1, "best value": 1}
    assert best_offers([best]) == {}


def test_without_a_price_it_is_the_fastest_alone_and_without_a_time_it_is_none() -> None:
    assert best_offers([Offer(time=3, cost_usd=None), Offer(time=4, cost_usd=None)]) == {"fastest": 0}
    assert best_offers([Offer(time=None, cost_usd=1), CHEAP]) == {"fastest": 1, "cheapest": 1, "best value": 1}
    assert best_offers([]) == {}
