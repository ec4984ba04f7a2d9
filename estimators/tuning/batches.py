"""How long the longest sample of a micro-batch is, which all others are padded to: its exact distribution over all orders of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable

from estimators.frozen import frozen
from estimators.lengths import Lengths

WINDOW = 9.0
"""Standard deviations around its mean beyond which a hypergeometric number is not looked for: less than 1e-18 of it lies there."""

MOST_LENGTHS = 400
"""Lengths that sorted batches are computed at; of a data set that has more, those at equal shares of its samples, the rest by straight
lines between them. Batches in random order are computed at every length."""

FURTHEST = 1.02
"""Times a length that the next one is at most, where the data set has one between: few samples of a long tail are far apart."""

MEGABATCHES = 50
"""Batches that transformers' length-grouped sampler sorts at a time, at most.

Source: transformers, trainer_pt_utils.get_length_grouped_indices (version 5).
"""


@frozen
class Padded:
    """One epoch in micro-batches.

    Attributes:
        num_batches: micro-batches, a last smaller one among them.
        tokens: expected tokens of all of them, padding included.
        longest: (length, expected micro-batches whose longest sample has it), ascending: what a step's time is averaged over.
    """

    num_batches: int
    tokens: float
    longest: tuple[tuple[int, float], ...]

    @property
    def mean_longest(self) -> float:
        """Tokens that a sample of a micro-batch is padded to, in the mean."""
        return sum(length * batches for length, batches in self.longest) / sum(batches for _, batches in self.longest)


def padded(lengths: Lengths, batch: int, *, sorted_in: int = 0) -> Padded:
    """Micro-batches of `batch` samples in random order, each padded to its longest.

    Of M samples that were drawn, K are at least v long: K is hypergeometric. Sorted and cut into batches of b, ceil(K / b) of these
    have a sample of v tokens or more, so that their expected sum of longest samples is the sum over v = 1, 2, ... of E[ceil(K / b)].
    Unsorted batches are the case M = b, where that is the probability that any of b samples is as long.

    Args:
        batch: samples of a micro-batch.
        sorted_in: samples that are drawn at a time and sorted by length, as a length-grouped sampler does; 0 for none.

    Three samples of 1, 2 and 4 tokens in batches of two: the first batch is one of three pairs, whose longest are 2, 4 and 4; the last
    is one sample.

    >>> from estimators.lengths import lengths_of
    >>> two = padded(lengths_of([1, 2, 4], source="three samples"), 2)
    >>> round(two.tokens, 9) == round(2 * (2 + 4 + 4) / 3 + (4 + 2 + 1) / 3, 9), two.num_batches
    (True, 2)
    """
    total = lengths.num_samples
    drawn = max(batch, sorted_in // batch * batch)
    rounds, rest = divmod(total, drawn)
    whole, left = divmod(rest, batch)

    def batches_of(k: int) -> float:
        return -(-k // batch)

    def tokens_of_rest(k: int) -> float:
        return batch * -(-k // batch) - ((batch - left) if left and k > batch * whole else 0)

    at_least: list[tuple[int, float]] = []
    tokens, before, height = 0.0, 0, 0.0
    steps = _longer(lengths, MOST_LENGTHS if sorted_in else None)
    for length, longer, is_next in steps:
        of_round = _expected(batches_of, total, longer, drawn) if rounds else 0.0
        of_rest = _expected(batches_of, total, longer, rest) if rest else 0.0
        at_least.append((length, rounds * of_round + of_rest))
        of_tokens = rounds * batch * of_round + (_expected(tokens_of_rest, total, longer, rest) if rest else 0.0)
        tokens += (length - before) * (of_tokens if is_next else (height + of_tokens) / 2)
        before, height = length, of_tokens
    after = [*zip(at_least[1:], steps[1:], strict=True), ((at_least[-1][0], 0.0), (0, 0, True))]
    longest = [
        (length if is_next else (length + further) // 2, batches - end)
        for (length, batches), ((further, end), (_, _, is_next)) in zip(at_least, after, strict=True)
    ]
    return Padded(num_batches=-(-total // batch), tokens=tokens, longest=tuple((v, n) for v, n in longest if n > 0))


def longest_of(devices: int) -> float:
    """How many standard deviations the largest of n alike quantities is above their mean, in the mean.

    The normal quantile at (n - 3/8) / (n + 1/4).

    Source: Blom 1958, Statistical estimates and transformed beta-variables, section 6.9.

    >>> longest_of(1), round(longest_of(2), 2), round(longest_of(8), 2)
    (0.0, 0.59, 1.43)
    """
    if devices == 1:
        return 0.0
    from statistics import NormalDist  # deferred: one device waits for nobody

    return float(NormalDist().inv_cdf((devices - 0.375) / (devices + 0.25)))


def sorted_at_a_time(total: int, batch: int, accumulation: int) -> int:
    """Samples that transformers sorts by length at a time: of so many batches of a step, a quarter of all at most."""
    step = batch * accumulation
    return step * max(1, min(total // (step * 4), MEGABATCHES))


def _longer(lengths: Lengths, most: int | None) -> list[tuple[int, int, bool]]:
    """(length, samples that are at least so long, whether the length before it in the data is the one before it here), ascending."""
    longer, found = lengths.num_samples, []
    for length, samples in lengths.by_length:
        found.append((length, longer, True))
        longer -= samples
    if most is None or len(found) <= most:
        return found
    share, kept = lengths.num_samples / most, [found[0]]
    for place, (length, longer, _) in enumerate(found[1:], start=1):
        far = kept[-1][1] - longer >= share or length >= FURTHEST * kept[-1][0]
        if far or place == len(found) - 1:
            kept.append((length, longer, kept[-1][0] == found[place - 1][0]))
    return kept


def _expected(value: Callable[[int], float], total: int, marked: int, drawn: int) -> float:
    """The expectation of a function of K, the marked ones among `drawn` of `total`, that is 0 at 0."""
    if marked == total:
        return value(drawn)
    if drawn == 1:
        return value(1) * marked / total
    mean = drawn * marked / total
    spread = math.sqrt(max(mean * (1 - marked / total) * (total - drawn) / max(total - 1, 1), 0.0))
    low = max(0, drawn + marked - total, math.floor(mean - WINDOW * spread) - 1)
    high = min(drawn, marked, math.ceil(mean + WINDOW * (spread + 1)) + 1)
    middle = min(max(round(mean), low), high)
    weights, upwards, downwards = {middle: 1.0}, 1.0, 1.0
    for k in range(middle, high):  # each weight from its neighbour's: no logarithm of a factorial loses digits
        upwards *= (marked - k) * (drawn - k) / ((k + 1) * (total - marked - drawn + k + 1))
        weights[k + 1] = upwards
    for k in range(middle, low, -1):
        downwards *= k * (total - marked - drawn + k) / ((marked - k + 1) * (drawn - k + 1))
        weights[k - 1] = downwards
    return sum(value(k) * weight for k, weight in weights.items()) / sum(weights.values())
