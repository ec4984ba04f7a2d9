"""Format: one tool's result file, how it is recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from estimators.errors import BadValueError
from estimators.frozen import field, frozen
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, ServingResult

MILLI = 1e-3


@frozen
class Format:
    """One kind of file.

    Attributes:
        name: a key of one_file.FORMATS.
        about: the tool and its file, for people.
        is_of: whether a file's values are of this kind: the rows of a list, the lines of a jsonl, or one table.
        read: the runs in it.
    """

    name: str
    about: str
    is_of: Callable[[Sequence[dict[str, Any]]], bool] = field(hash=False)
    read: Callable[[Sequence[Place]], list[ServingResult]] = field(hash=False)


STATISTICS = {
    "mean": "mean",
    "avg": "mean",
    "median": "median",
    "p50": "median",
    "std": "std",
    "std_dev": "std",
    "min": "min",
    "max": "max",
}
"""What tools call a statistic -> its name here; percentiles keep theirs."""


def statistic_named(word: str) -> str | None:
    """A statistic by a tool's word for it; None for anything else.

    >>> statistic_named("p99p9"), statistic_named("p50"), statistic_named("units")
    ('p99.9', 'median', None)
    """
    if word in STATISTICS:
        return STATISTICS[word]
    digits = word[1:].replace("p", ".")
    return f"p{digits}" if word[:1] == "p" and digits.replace(".", "", 1).isdigit() else None


def spread(place: Place, quantity: str, scale: float = 1.0) -> list[Figure]:
    """Every statistic of a quantity in a table of them, a percentiles' table within included."""
    found = []
    for name in place.values:
        statistic = statistic_named(name)
        value = place.number(name, scale) if statistic else None
        if statistic and value is not None:
            found.append(Figure(quantity=quantity, statistic=statistic, value=value))
    return found


def one(quantity: str, value: float | None, statistic: str = "mean") -> list[Figure]:
    """A single figure; none where there is no value."""
    return [] if value is None else [Figure(quantity=quantity, statistic=statistic, value=value)]


def only(places: Sequence[Place], what: str) -> Place:
    """The only table of a file. Raises BadValueError for none or several."""
    if len(places) != 1:
        raise BadValueError(f"found {len(places)} tables; expected {what}")
    return places[0]
