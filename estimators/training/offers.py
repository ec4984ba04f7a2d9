"""Which of several offers of one job is the fastest, the cheapest and the best value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from estimators.frozen import frozen

Mark = Literal["fastest", "cheapest", "best value"]


@frozen
class Offer:
    """A way to have a job done.

    Attributes:
        time: it takes, in the unit of all offers; None where nothing tells.
        cost_usd: None where no price is known.
        fits: False where its memory does not hold the job; None where nobody asked.
    """

    time: float | None
    cost_usd: float | None
    fits: bool | None = None


def beaten_by(offers: Sequence[Offer]) -> tuple[int | None, ...]:
    """For each offer the place of one that is as fast and as cheap, and better in one of the two; None without one.

    What does not fit, or has no time or price, is beaten by nothing, and beats nothing.

    >>> beaten_by([Offer(time=2, cost_usd=50), Offer(time=3, cost_usd=60), Offer(time=1, cost_usd=90), Offer(time=1, cost_usd=None)])
    (None, 0, None, None)
    """
    known = [(place, offer.time, offer.cost_usd) for place, offer in enumerate(offers) if offer.fits is not False]
    priced = [(place, time, cost) for place, time, cost in known if time is not None and cost is not None]
    beaten: dict[int, int] = {}
    for place, time, cost in priced:
        for other, its_time, its_cost in sorted(priced, key=lambda one: (one[1], one[2])):
            if its_time <= time and its_cost <= cost and (its_time, its_cost) != (time, cost):
                beaten.setdefault(place, other)
    return tuple(beaten.get(place) for place in range(len(offers)))


def best_offers(offers: Sequence[Offer]) -> dict[Mark, int]:
    """Mark to the place of the offer that has it, of those that fit; without the marks that nothing can tell.

    The best value is the least time · cost: an offer that is twice as dear for half of the time is worth as much.

    >>> plain, fast, cheap = Offer(time=2, cost_usd=50), Offer(time=1, cost_usd=120), Offer(time=8, cost_usd=40)
    >>> best_offers([plain, fast, cheap, Offer(time=1, cost_usd=1, fits=False)])
    {'fastest': 1, 'cheapest': 2, 'best value': 0}
    """
    timed = [
        (place, offer.time, offer.cost_usd) for place, offer in enumerate(offers) if offer.time is not None and offer.fits is not False
    ]
    priced = [(place, time, cost) for place, time, cost in timed if cost is not None]
    best: dict[Mark, int] = {}
    if timed:
        best["fastest"] = min(timed, key=lambda one: one[1])[0]
    if priced:
        best["cheapest"] = min(priced, key=lambda one: one[2])[0]
        best["best value"] = min(priced, key=lambda one: one[1] * one[2])[0]
    return best
