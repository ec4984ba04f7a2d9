"""How many tokens samples, prompts or answers have: a histogram, read from a file or stated by numbers of a distribution."""

from __future__ import annotations

import csv
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from estimators import text_file
from estimators.errors import BadValueError
from estimators.frozen import frozen

MAX_TOKENS = 10**7
"""Of one sample; no context comes near it."""

MAX_SAMPLES = 10**10

LENGTH_COLUMNS = ("tokens", "num_tokens", "length", "n_tokens")
"""What the column of a file of lengths may be called."""

LOSS_COLUMN, COUNT_COLUMN = "loss_tokens", "samples"
"""Columns beside it: tokens that bear loss, and how many samples are alike."""

Z95 = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""

HEAVIEST_RATIO = math.exp(Z95**2 / 2)
"""Of the 95th percentile to the mean, the largest that a log-normal distribution has."""


@frozen
class Lengths:
    """A histogram of samples.

    Attributes:
        counts: (tokens, tokens among them that bear no loss, samples that are so), ascending.
        says_loss: whether it is known which tokens bear loss; else the second number is 0.
        source: where they come from, in words.
    """

    counts: tuple[tuple[int, int, int], ...]
    says_loss: bool
    source: str

    def __post_init__(self) -> None:
        if not self.counts:
            raise BadValueError(f"{self.source[:80] or 'the data set'}: no samples; expected one at least")
        if self.num_samples > MAX_SAMPLES:
            raise BadValueError(f"{self.num_samples:,} samples; expected at most {MAX_SAMPLES:,}")

    @property
    def num_samples(self) -> int:
        """Of one epoch."""
        return sum(samples for _, _, samples in self.counts)

    @property
    def num_tokens(self) -> int:
        """Of one epoch, nothing cut."""
        return sum(tokens * samples for tokens, _, samples in self.counts)

    @property
    def num_loss_tokens(self) -> int | None:
        """Of one epoch, those that bear loss; None where it is not known which do."""
        return sum((tokens - prompt) * samples for tokens, prompt, samples in self.counts) if self.says_loss else None

    @property
    def by_length(self) -> tuple[tuple[int, int], ...]:
        """(tokens, samples), ascending."""
        merged: Counter[int] = Counter()
        for tokens, _, samples in self.counts:
            merged[tokens] += samples
        return tuple(merged.items())

    @property
    def mean_tokens(self) -> float:
        """Of one sample."""
        return self.num_tokens / self.num_samples

    @property
    def longest(self) -> int:
        """Of any sample."""
        return max(tokens for tokens, _, _ in self.counts)

    def percentile(self, share: float) -> int:
        """The least number of tokens that such a share of the samples does not pass.

        >>> lengths_of([10, 20, 30, 40], source="four samples").percentile(0.5)
        20
        """
        passed, wanted = 0, share * self.num_samples
        for tokens, _, samples in self.counts:
            passed += samples
            if passed >= wanted:
                return tokens
        return self.longest

    def in_turn(self, seed: int = 0) -> tuple[int, ...]:
        """The length of each sample, in an order drawn by the seed; samples of one length need none.

        >>> sorted(lengths_of([10, 20, 20], source="three samples").in_turn(seed=1))
        [10, 20, 20]
        """
        lengths = [tokens for tokens, _, samples in self.counts for _ in range(samples)]
        if len(self.counts) > 1:
            random.Random(seed).shuffle(lengths)
        return tuple(lengths)

    def cut(self, max_length: int) -> Lengths:
        """Every sample cut to its first `max_length` tokens, as data collators do."""
        return self._changed(lambda tokens, prompt: [(min(tokens, max_length), min(prompt, max_length))])

    def without_longer(self, max_length: int) -> Lengths:
        """Without the samples that are longer. Raises BadValueError where none is left."""
        return self._changed(lambda tokens, prompt: [(tokens, prompt)] if tokens <= max_length else [])

    def split(self, max_length: int) -> Lengths:
        """Every longer sample in pieces of `max_length` tokens and what is left: nothing is lost, and there are more of them."""

        def pieces(tokens: int, prompt: int) -> list[tuple[int, int]]:
            starts = range(0, tokens, max_length)
            return [(min(max_length, tokens - at), min(max(prompt - at, 0), max_length, tokens - at)) for at in starts]

        return self._changed(pieces)

    def _changed(self, change: Callable[[int, int], list[tuple[int, int]]]) -> Lengths:
        counted: Counter[tuple[int, int]] = Counter()
        for tokens, prompt, samples in self.counts:
            for piece in change(tokens, prompt):
                counted[piece] += samples
        return _histogram(counted, says_loss=self.says_loss, source=self.source)


def _histogram(counted: Counter[tuple[int, int]], *, says_loss: bool, source: str) -> Lengths:
    counts = tuple((tokens, prompt, samples) for (tokens, prompt), samples in sorted(counted.items()))
    return Lengths(counts=counts, says_loss=says_loss, source=source)


def lengths_of(tokens: Iterable[int], *, source: str, loss_tokens: Sequence[int] | None = None) -> Lengths:
    """The histogram of samples that were counted one by one.

    Args:
        loss_tokens: of each, the tokens that bear loss; None where that is not known.

    Raises:
        BadValueError: no sample, one without tokens or with more than any context has, or more loss than tokens.
    """
    lengths = list(tokens)
    bearing = lengths if loss_tokens is None else list(loss_tokens)
    for number, (length, loss) in enumerate(zip(lengths, bearing, strict=True), start=1):
        _check(f"sample {number:,}", length, loss)
    counted = Counter((length, length - loss) for length, loss in zip(lengths, bearing, strict=True))
    return _histogram(counted, says_loss=loss_tokens is not None, source=source)


def _check(where: str, length: int, loss: int) -> None:
    if not 1 <= length <= MAX_TOKENS:
        raise BadValueError(f"{where}: {length:,} tokens; expected a whole number from 1 to {MAX_TOKENS:,}")
    if not 0 <= loss <= length:
        raise BadValueError(f"{where}: {loss:,} tokens bear loss of {length:,}; expected from 0 to that")


def stated_lengths(samples: int, mean_tokens: float, p95_tokens: float | None = None) -> Lengths:
    """Samples whose lengths follow a log-normal distribution of that mean and 95th percentile, each at its own quantile; none is drawn.

    ln(length) is normal with spread s and middle m: mean = exp(m + s²/2), p95 = exp(m + 1.645·s), so that
    ln(p95 / mean) = 1.645·s - s²/2, of which the smaller solution is taken.

    Args:
        p95_tokens: None for samples that are all of the mean's length.

    Raises:
        BadValueError: a percentile below the mean, or further from it than any log-normal distribution has it.

    >>> alpaca = stated_lengths(52002, 118, 320)
    >>> alpaca.num_samples, alpaca.percentile(0.95), round(alpaca.mean_tokens)
    (52002, 320, 118)
    """
    source = f"{samples:,} samples of {mean_tokens:g} tokens each"
    if p95_tokens is None or p95_tokens == mean_tokens:
        return lengths_of_count(max(1, round(mean_tokens)), samples, source=source)
    if not mean_tokens < p95_tokens < HEAVIEST_RATIO * mean_tokens:
        raise BadValueError(
            f"a 95th percentile of {p95_tokens:g} tokens beside a mean of {mean_tokens:g}; expected more than the mean and less than "
            f"{HEAVIEST_RATIO:.3g} times it, as a log-normal distribution has; give a file of lengths in their place"
        )
    spread = Z95 - math.sqrt(Z95**2 - 2 * math.log(p95_tokens / mean_tokens))
    middle = math.log(mean_tokens) - spread**2 / 2
    counted: Counter[tuple[int, int]] = Counter()
    placed, length = 0, 1
    while placed < samples and length <= MAX_TOKENS:
        below = math.erfc((middle - math.log(length + 0.5)) / (spread * math.sqrt(2))) / 2
        until = min(samples, math.floor(samples * below + 0.5))
        if until > placed:
            counted[length, 0] += until - placed
            placed = until
        length += 1
    counted[min(length, MAX_TOKENS), 0] += samples - placed
    counted = +counted
    stated = f"{samples:,} samples of {mean_tokens:g} tokens in the mean, 95 % of them up to {p95_tokens:g}, log-normal (assumed)"
    return _histogram(counted, says_loss=False, source=stated)


def uniform_lengths(samples: int, least_tokens: int, most_tokens: int) -> Lengths:
    """Samples whose lengths are spread evenly over a range, each at its own quantile; none is drawn.

    Raises:
        BadValueError: a range that ends before it begins, or lengths that no sample has.

    >>> uniform_lengths(4, 1, 8).by_length
    ((2, 1), (4, 1), (6, 1), (8, 1))
    """
    for tokens in (least_tokens, most_tokens):
        _check("a sample", tokens, tokens)
    if most_tokens < least_tokens:
        raise BadValueError(f"lengths from {least_tokens:,} to {most_tokens:,} tokens; expected the smaller one first")
    width = most_tokens - least_tokens + 1
    counted = Counter((least_tokens + (2 * place + 1) * width // (2 * samples), 0) for place in range(samples))
    return _histogram(counted, says_loss=False, source=f"{samples:,} samples of {least_tokens:,} to {most_tokens:,} tokens, evenly spread")


def lengths_of_count(tokens: int, samples: int, *, source: str) -> Lengths:
    """Samples that are all alike. Raises BadValueError."""
    _check("a sample", tokens, tokens)
    return _histogram(Counter({(tokens, 0): samples}), says_loss=False, source=source)


def read_lengths(path: str) -> Lengths:
    """Lengths of a CSV file: a column `tokens` (or `length`), beside it `loss_tokens` and `samples` if they are there; or a number a line.

    Raises:
        BadValueError: it cannot be read, has no such column, or a cell is no such number; one line that names it.
    """
    try:
        lines = text_file.read(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadValueError(f"cannot read {path!r}: {reason}; expected a CSV file of lengths") from None
    try:
        rows = list(csv.reader(lines))
    except csv.Error as error:
        raise BadValueError(f"{path!r} is no CSV text ({error}); expected a column of lengths") from None
    first = next((row for row in rows if row), None)
    if first is None:
        raise BadValueError(f"{path!r} is empty; expected a column {LENGTH_COLUMNS[0]}, or a number a line")
    header = [cell.strip().casefold() for cell in first]
    named = next((name for name in LENGTH_COLUMNS if name in header), None)
    if named is None and not (len(first) == 1 and first[0].strip().isdecimal()):
        raise BadValueError(f"{path!r} has no column of lengths; expected one called {' or '.join(LENGTH_COLUMNS)}, or a number a line")
    places = {name: header.index(name) for name in (named, LOSS_COLUMN, COUNT_COLUMN) if name in header} if named else {}
    counted: Counter[tuple[int, int]] = Counter()
    for number, row in enumerate(rows, start=1):
        if not row or (named and row is first):
            continue
        where = f"{path!r}, line {number:,}"
        length = _whole(where, row, places.get(named or "", 0), 1, MAX_TOKENS)
        loss = _whole(where, row, places[LOSS_COLUMN], 0, length) if LOSS_COLUMN in places else length
        samples = _whole(where, row, places[COUNT_COLUMN], 1, MAX_SAMPLES) if COUNT_COLUMN in places else 1
        counted[length, length - loss] += samples
    return _histogram(counted, says_loss=LOSS_COLUMN in places, source=f"lengths of {path}")


def _whole(where: str, row: Sequence[str], place: int, least: int, most: int) -> int:
    text = row[place].strip() if place < len(row) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and least <= int(text) <= most):
        raise BadValueError(f"{where}: {text[:40]!r}; expected a whole number from {least:,} to {most:,}")
    return int(text)
