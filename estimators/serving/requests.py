"""Requests: what is asked of a deployment, and when: lengths of prompts and answers, and how they arrive."""

from __future__ import annotations

import csv
import itertools
import math
import os
import random
from collections.abc import Sequence

from estimators import text_file
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.lengths import Lengths, lengths_of, lengths_of_count, read_lengths, stated_lengths, uniform_lengths
from estimators.parsing import parse_count

MAX_REQUESTS = 10**6
"""Of one simulation; ten thousand take a second."""

REQUEST_COLUMNS = ("arrival_s", "input_tokens", "output_tokens")
"""Of a file of requests; others may stand beside them."""


@frozen
class Requests:
    """Requests one by one, in the order in which they are sent.

    Attributes:
        input_tokens, output_tokens: of each; an answer has one token at least.
        arrival_s: seconds from the start at which each is sent, ascending; None for a closed loop.
        users: of a closed loop: each sends its next request when it has its answer; None where stamps say it.
        source: in words.
    """

    input_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    arrival_s: tuple[float, ...] | None = None
    users: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        number = len(self.input_tokens)
        if not 1 <= number <= MAX_REQUESTS or len(self.output_tokens) != number:
            raise BadValueError(f"{number:,} prompts, {len(self.output_tokens):,} answers; expected as many, from 1 to {MAX_REQUESTS:,}")
        if min(*self.input_tokens, *self.output_tokens) < 1:
            raise BadValueError("a prompt or an answer without tokens; expected 1 at least of each")
        if (self.arrival_s is None) == (self.users is None):
            raise BadValueError("requests that arrive by stamps and in a closed loop, or by neither; expected one of them")
        if self.users is not None and self.users < 1:
            raise BadValueError(f"{self.users} users; expected a whole number from 1")
        if self.arrival_s is not None and not _ascending(self.arrival_s, number):
            raise BadValueError(f"{len(self.arrival_s):,} arrivals; expected one of each request, finite, from 0 s on, in order")

    @property
    def mean_input_tokens(self) -> float:
        """Of a prompt."""
        return sum(self.input_tokens) / len(self.input_tokens)

    @property
    def mean_output_tokens(self) -> float:
        """Of an answer."""
        return sum(self.output_tokens) / len(self.output_tokens)


def _ascending(arrival_s: Sequence[float], number: int) -> bool:
    in_order = all(first <= second for first, second in itertools.pairwise(arrival_s))
    return number == len(arrival_s) and in_order and arrival_s[0] >= 0 and math.isfinite(arrival_s[-1])


def closed_loop(prompts: Lengths, answers: Lengths, users: int, *, seed: int = 0) -> Requests:
    """So many users at most have a request in flight each, and send the next one at once. Raises BadValueError."""
    source = f"{users:,} users in a closed loop, seed {seed}"
    return Requests(input_tokens=prompts.in_turn(seed), output_tokens=answers.in_turn(seed + 1), users=users, source=source)


def at_rate(prompts: Lengths, answers: Lengths, requests_per_s: float, *, seed: int = 0) -> Requests:
    """A Poisson process: times between arrivals are exponential, drawn by the seed, and independent of what the server does.

    Raises:
        BadValueError: a rate that is not positive.
    """
    if not 0 < requests_per_s < math.inf:
        raise BadValueError(f"{requests_per_s:g} requests/s; expected a positive number")
    drawn, clock_s, stamps = random.Random(seed + 2), 0.0, []
    for _ in range(prompts.num_samples):
        clock_s += drawn.expovariate(requests_per_s)
        stamps.append(clock_s)
    source = f"{requests_per_s:g} requests/s, Poisson, seed {seed}"
    return Requests(input_tokens=prompts.in_turn(seed), output_tokens=answers.in_turn(seed + 1), arrival_s=tuple(stamps), source=source)


def at_once(prompts: Lengths, answers: Lengths, *, seed: int = 0) -> Requests:
    """All at the start, as offline batches are."""
    stamps = (0.0,) * prompts.num_samples
    return Requests(
        input_tokens=prompts.in_turn(seed), output_tokens=answers.in_turn(seed + 1), arrival_s=stamps, source=f"all at once, seed {seed}"
    )


def read_requests(path: str) -> Requests:
    """Requests of a CSV file with the columns `arrival_s`, `input_tokens` and `output_tokens`, sorted by arrival.

    Raises:
        BadValueError: it cannot be read, lacks a column, or a cell is no such number; one line.
    """
    try:
        rows = list(csv.DictReader(text_file.read(path).splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no CSV text in UTF-8"
        raise BadValueError(f"cannot read {path!r}: {reason}; expected a CSV file of requests") from None
    missing = [name for name in REQUEST_COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise BadValueError(f"{path!r} has no column {' and '.join(missing)}, or no line; expected {', '.join(REQUEST_COLUMNS)}")
    read = sorted(
        (_number(path, line, row, "arrival_s", 0), _whole(path, line, row, "input_tokens"), _whole(path, line, row, "output_tokens"))
        for line, row in enumerate(rows, start=2)
    )
    stamps, prompts, answers = zip(*read, strict=True)
    return Requests(input_tokens=prompts, output_tokens=answers, arrival_s=stamps, source=f"requests of {path}")


def _number(path: str, line: int, row: dict[str, str | None], column: str, least: int) -> float:
    cell = row.get(column) or ""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not least <= value < 10**9:
        raise BadValueError(f"{path!r}, line {line}: {column} is {cell[:40]!r}; expected a number from {least}")
    return value


def _whole(path: str, line: int, row: dict[str, str | None], column: str) -> int:
    value = _number(path, line, row, column, 1)
    if value != int(value):
        raise BadValueError(f"{path!r}, line {line}: {column} is {value:g}; expected a whole number")
    return int(value)


def parse_lengths(text: str, samples: int, name: str) -> Lengths:
    """Lengths as people write them, of so many samples.

    `1000` is all alike, `500..1500` evenly spread, `1000:2800` log-normal by its mean and 95th percentile; else a file of lengths, whose
    samples are taken again and again until there are enough.

    Raises:
        BadValueError: none of these; one line.

    >>> parse_lengths("1000", 3, "prompts").by_length
    ((1000, 3),)
    >>> parse_lengths("1..3", 3, "prompts").by_length
    ((1, 1), (2, 1), (3, 1))
    """
    for separator, make in (("..", uniform_lengths), (":", stated_lengths)):
        first, found, second = text.partition(separator)
        if found and not os.path.exists(text):
            return make(samples, parse_count(first, name, maximum=10**7), parse_count(second, name, maximum=10**7))
    if not os.path.isfile(text):
        return lengths_of_count(parse_count(text, name, maximum=10**7), samples, source=f"{name} of {text} tokens")
    held = read_lengths(text)
    in_turn = held.in_turn()
    return lengths_of((in_turn[place % len(in_turn)] for place in range(samples)), source=held.source)
