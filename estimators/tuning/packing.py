"""How samples are put together into sequences of one length, so that little is padded: by the algorithms that frameworks use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from estimators.frozen import frozen

PackingAlgorithm = Literal["ffd", "bfd", "wrapped"]

PACKINGS: tuple[PackingAlgorithm, ...] = get_args(PackingAlgorithm)
"""First-fit decreasing, best-fit decreasing, and all samples one after another, cut into equal pieces wherever that falls.

Source: Johnson et al. 1974, Worst-case performance bounds for simple one-dimensional packing algorithms, sections 2 and 3.
"""

MOST_LENGTHS = 2000
"""Lengths that are told apart; samples of a data set that has more are rounded up to a multiple, of which the capacity has so many."""

Group = list[int]
"""Room that is left in a sequence, and sequences that are so, side by side."""


@frozen
class Packed:
    """Sequences that were filled.

    Attributes:
        sequences: how many.
        tokens: in all of them, without what is left free.
        square: of the lengths of samples, summed: what attention does that sees its own sample alone.
    """

    sequences: int
    tokens: int
    square: int


def pack(lengths: Sequence[tuple[int, int]], capacity: int, packing: PackingAlgorithm) -> Packed:
    """Pack samples into sequences of `capacity` tokens.

    Args:
        lengths: (tokens, samples that have so many), none longer than the capacity.

    Ten samples of two lengths, by hand. Three of 6 leave 2 each in sequences of 8; of seven of 2, three fill those, four fill one more.

    >>> pack([(6, 3), (2, 7)], 8, "ffd").sequences
    4
    >>> pack([(6, 3), (2, 7)], 8, "wrapped").sequences
    4
    """
    tokens = sum(length * samples for length, samples in lengths)
    square = sum(length * length * samples for length, samples in lengths)
    longest_first = sorted(_told_apart(lengths, capacity), reverse=True)
    if packing == "wrapped":
        sequences = -(-tokens // capacity)
    elif packing == "bfd":
        sequences = _best_fit(longest_first, capacity)
    else:
        sequences = _first_fit(longest_first, capacity)
    return Packed(sequences=sequences, tokens=tokens, square=square)


def _told_apart(lengths: Sequence[tuple[int, int]], capacity: int) -> Sequence[tuple[int, int]]:
    if len(lengths) <= MOST_LENGTHS:
        return lengths
    multiple = -(-capacity // MOST_LENGTHS)
    rounded: dict[int, int] = {}
    for length, samples in lengths:
        up = min(capacity, -(-length // multiple) * multiple)
        rounded[up] = rounded.get(up, 0) + samples
    return list(rounded.items())


def _first_fit(longest_first: Sequence[tuple[int, int]], capacity: int) -> int:
    """Sequences, where each sample goes into the first one that has room for it, and into a new one where none has."""
    groups: list[Group] = []  # in the order in which the sequences were begun
    shortest = longest_first[-1][0]
    full = 0
    for length, left in longest_first:
        changed: list[Group] = []
        for room, count in groups:
            each = room // length
            taken = min(left, each * count)
            left -= taken
            filled, rest = divmod(taken, each) if each else (0, 0)
            partly = int(rest > 0)
            changed += [[room - each * length, filled], [room - rest * length, partly], [room, count - filled - partly]]
        each = capacity // length
        filled, rest = divmod(left, each)
        changed += [[capacity - each * length, filled], [capacity - rest * length, int(rest > 0)]]
        groups = []
        for room, count in changed:
            if count and room < shortest:
                full += count
            elif count and groups and groups[-1][0] == room:
                groups[-1][1] += count
            elif count:
                groups.append([room, count])
    return full + sum(count for _, count in groups)


def _best_fit(longest_first: Sequence[tuple[int, int]], capacity: int) -> int:
    """Sequences, where each sample goes into the one that has the least room for it, and into a new one where none has."""
    with_room: dict[int, int] = {}  # room -> sequences that have it left
    for length, left in longest_first:
        for room in sorted(room for room in with_room if room >= length):
            left -= _fill(with_room, room, length, left)
        if left:
            with_room[capacity] = with_room.get(capacity, 0) + -(-left // (capacity // length))
            _fill(with_room, capacity, length, left)
    return sum(with_room.values())


def _fill(with_room: dict[int, int], room: int, length: int, left: int) -> int:
    """Put up to `left` samples into sequences of one room, one sequence after another; how many were."""
    each = room // length
    taken = min(left, each * with_room[room])
    filled, rest = divmod(taken, each)
    for count, after in ((filled, room - each * length), (int(rest > 0), room - rest * length)):
        if count:
            with_room[room] -= count
            with_room[after] = with_room.get(after, 0) + count
    if not with_room[room]:
        del with_room[room]
    return taken
