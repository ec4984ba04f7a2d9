"""Packing by hand, and against the algorithms written down item by item."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from estimators.tuning.packing import pack


def item_by_item(lengths: list[int], capacity: int, choose: Callable[[list[int]], int]) -> int:
    """Sequences, where a sample of decreasing length goes into the one that is chosen among those with room, or into a new one."""
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        able = [place for place, left in enumerate(room) if left >= length]
        if not able:
            room.append(capacity)
            able = [len(room) - 1]
        room[min(able, key=lambda place: choose([place, room[place]]))] -= length
    return len(room)


def first(option: list[int]) -> int:
    return option[0]


def tightest(option: list[int]) -> int:
    return option[1]


def counted(lengths: list[int]) -> list[tuple[int, int]]:
    return sorted(Counter(lengths).items())


def test_first_fit_decreasing_worked_by_hand() -> None:
    """Rows of 10. 7 opens row 1 (3 left), 6 row 2 (4 left), 5 row 3 (5 left); 4 goes into row 2 (0 left), the other 4 into row 3 (1 left);
    3 into row 1 (0 left); 2 finds no room (1 in row 3) and opens row 4, where the other 2 follows (6 left); 1 goes into row 3: four rows of
    34 tokens, 6 of 40 padded."""
    packed = pack(counted([4, 7, 2, 6, 5, 1, 4, 3, 2]), 10, "ffd")
    assert (packed.sequences, packed.tokens) == (4, 34)
    assert packed.square == 16 + 49 + 4 + 36 + 25 + 1 + 16 + 9 + 4


def test_best_fit_decreasing_worked_by_hand_where_first_fit_takes_a_row_more() -> None:
    """Rows of 13. 9 opens row 1 (4 left), 5 opens row 2 (8 left) and the other 5 follows it (3 left). First fit puts the 3 into row 1
    (1 left), a 2 into row 2 (1 left), and opens row 3 for the other 2. Best fit puts the 3 into row 2 (0 left), and both 2 into row 1."""
    lengths = [2, 5, 9, 3, 5, 2]
    assert pack(counted(lengths), 13, "ffd").sequences == 3
    assert pack(counted(lengths), 13, "bfd").sequences == 2


def test_wrapped_samples_fill_all_rows_but_the_last() -> None:
    assert pack([(3, 4)], 5, "wrapped").sequences == 3  # 12 tokens: 5 + 5 + 2


@pytest.mark.parametrize("seed", range(30))
def test_alike_samples_are_packed_as_if_one_by_one(seed: int) -> None:
    draw = random.Random(seed)
    capacity = draw.choice((8, 13, 60, 512))
    lengths = [draw.randint(1, max(1, capacity // draw.choice((1, 2, 5)))) for _ in range(draw.randint(1, 300))]
    assert pack(counted(lengths), capacity, "ffd").sequences == item_by_item(lengths, capacity, first)
    assert pack(counted(lengths), capacity, "bfd").sequences == item_by_item(lengths, capacity, tightest)


def test_a_large_data_set_is_packed_in_a_moment() -> None:
    """A million samples of two thousand lengths: FFD needs at most 11/9 of the fewest rows and one (Johnson 1974)."""
    lengths = [(length, 500) for length in range(1, 2001)]
    fewest = -(-sum(length * samples for length, samples in lengths) // 2048)
    for algorithm in ("ffd", "bfd"):
        assert fewest <= pack(lengths, 2048, algorithm).sequences <= 11 / 9 * fewest + 1


def test_many_lengths_are_packed_nearly_as_well_when_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [(length, 3) for length in range(20, 2500)]
    fast = pack(lengths, 4096, "ffd")
    monkeypatch.setattr("estimators.tuning.packing.MOST_LENGTHS", 10**9)
    exact = pack(lengths, 4096, "ffd")
    assert (fast.tokens, fast.square) == (exact.tokens, exact.square)
    assert exact.sequences <= fast.sequences <= 1.01 * exact.sequences
