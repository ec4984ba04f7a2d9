"""Expected padding against the mean over every order that a small data set can have."""

from __future__ import annotations

import itertools
import random

import pytest

from estimators.lengths import lengths_of, stated_lengths
from estimators.tuning.batches import padded, sorted_at_a_time


def over_all_orders(lengths: list[int], batch: int, sorted_in: int) -> tuple[float, dict[int, float]]:
    """Tokens of an epoch, and how often each length is a batch's longest, in the mean over all orders."""
    orders = list(itertools.permutations(lengths))
    tokens, longest = 0, dict.fromkeys(lengths, 0)
    for order in orders:
        for at in range(0, len(order), sorted_in or batch):
            drawn = list(order[at : at + (sorted_in or batch)])
            drawn = sorted(drawn, reverse=True) if sorted_in else drawn
            for start in range(0, len(drawn), batch):
                chunk = drawn[start : start + batch]
                tokens += len(chunk) * max(chunk)
                longest[max(chunk)] += 1
    return tokens / len(orders), {length: count / len(orders) for length, count in longest.items() if count}


@pytest.mark.parametrize(
    ("lengths", "batch", "sorted_in"),
    [
        ([1, 2, 4], 2, 0),
        ([5, 5, 1, 9, 2, 3, 3], 1, 0),
        ([5, 5, 1, 9, 2, 3, 3], 2, 0),
        ([5, 5, 1, 9, 2, 3, 3], 3, 0),
        ([5, 5, 1, 9, 2, 3, 3], 7, 0),
        ([5, 5, 1, 9, 2, 3, 3], 8, 0),
        ([5, 5, 1, 9, 2, 3, 3], 2, 4),
        ([5, 5, 1, 9, 2, 3, 3], 2, 6),
        ([8, 1, 1, 1, 1, 1, 7, 4], 3, 6),
        ([4, 4, 4, 4, 4], 2, 4),
    ],
)
def test_expected_padding_is_the_mean_over_all_orders(lengths: list[int], batch: int, sorted_in: int) -> None:
    tokens, longest = over_all_orders(lengths, batch, sorted_in)
    found = padded(lengths_of(lengths, source="by hand"), batch, sorted_in=sorted_in)
    assert found.tokens == pytest.approx(tokens, rel=1e-12)
    assert found.num_batches == -(-len(lengths) // batch)
    assert dict(found.longest) == pytest.approx(longest, rel=1e-9)


def test_sorting_pads_less_than_chance_and_more_than_nothing() -> None:
    draw = random.Random(1)
    lengths = lengths_of([round(draw.lognormvariate(5, 1)) + 1 for _ in range(2000)], source="drawn")
    by_chance, sorted_ = padded(lengths, 8), padded(lengths, 8, sorted_in=sorted_at_a_time(2000, 8, 1))
    assert lengths.num_tokens < sorted_.tokens < by_chance.tokens
    assert padded(lengths, 1).tokens == pytest.approx(lengths.num_tokens, rel=1e-12)


def test_a_data_set_of_many_lengths_is_sorted_nearly_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = stated_lengths(20_000, 600, 1800)
    assert len(lengths.by_length) > 1500
    fast = padded(lengths, 8, sorted_in=1600)
    monkeypatch.setattr("estimators.tuning.batches.MOST_LENGTHS", 10**9)
    exact = padded(lengths, 8, sorted_in=1600)
    assert fast.tokens == pytest.approx(exact.tokens, rel=2e-3)  # straight lines between lengths
    assert fast.mean_longest == pytest.approx(exact.mean_longest, rel=5e-3)


def test_rare_long_samples_are_weighed_exactly() -> None:
    """One sample of a million is long: a batch of eight has it with a probability of 8 in a million, once an epoch."""
    found = padded(lengths_of([10] * 999_999 + [10_000], source="one is long"), 8)
    assert dict(found.longest)[10_000] == pytest.approx(1, rel=1e-12)
    assert found.tokens == pytest.approx(10 * 999_992 + 8 * 10_000, rel=1e-12)


def test_transformers_sorts_fifty_batches_at_a_time_and_never_more_than_a_quarter() -> None:
    """get_length_grouped_indices: mega_batch_mult = min(len(lengths) // (batch_size * 4), 50), and 1 for 0."""
    assert sorted_at_a_time(52_002, 8, 4) == 50 * 32
    assert sorted_at_a_time(640, 8, 1) == 20 * 8
    assert sorted_at_a_time(10, 8, 1) == 8
