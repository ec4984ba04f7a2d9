"""Values of a result file by name, each of the type that it must have; what does not fit is named by its place, in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from estimators.errors import BadValueError
from estimators.frozen import frozen

LARGEST = 1e19
"""Nanoseconds since 1970 are below it, and no time, count or rate of a run of a server comes near it."""

MAX_SHOWN = 40


def scaled(value: float, scale: float) -> float:
    """A number in base units, to the last digit of what was written: a division where the unit is a part of the base unit.

    >>> scaled(2530.0, 1e-3), 2530.0 * 1e-3
    (2.53, 2.5300000000000002)
    """
    return value * scale if scale >= 1 else value / round(1 / scale)


@frozen
class Place:
    """A table of a file and where it lies.

    Attributes:
        values: by name.
        at: names on the way to it, with dots; begins with the file's.
    """

    values: Mapping[str, Any]
    at: str

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def table(self, name: str) -> Place:
        """A table within; empty where it is absent or null. Raises BadValueError where it is something else."""
        value = self.values.get(name)
        if value is None:
            return Place(values={}, at=f"{self.at}.{name}")
        return self._table(value, name)

    def tables(self, name: str) -> tuple[Place, ...]:
        """A list of tables; empty where it is absent. Raises BadValueError."""
        return tuple(self._table(value, f"{name}.{place}") for place, value in enumerate(self._list(name)))

    def _table(self, value: object, name: str) -> Place:
        if not isinstance(value, dict):
            raise self.misfit(name, value, "an object")
        return Place(values=value, at=f"{self.at}.{name}")

    def _list(self, name: str) -> Sequence[Any]:
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.misfit(name, value, "a list")
        return value

    def number(self, name: str, scale: float = 1.0) -> float | None:
        """A number from 0, times `scale`; None where it is absent or null. Raises BadValueError."""
        value = self.values.get(name)
        return None if value is None else scaled(self._number(name, value), scale)

    def count(self, name: str) -> int | None:
        """A whole number from 0, written with or without a point; None where it is absent or null. Raises BadValueError."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value):
            raise self.misfit(name, value, "a whole number")
        return int(value)

    def numbers(self, name: str, scale: float = 1.0) -> tuple[float, ...]:
        """A list of numbers from 0; empty where it is absent. Raises BadValueError."""
        return tuple(scaled(self._number(f"{name}.{place}", value), scale) for place, value in enumerate(self._list(name)))

    def lists(self, name: str) -> tuple[tuple[float, ...], ...]:
        """A list of such lists. Raises BadValueError."""
        listed = self._list(name)
        return tuple(Place(values={str(place): value}, at=f"{self.at}.{name}").numbers(str(place)) for place, value in enumerate(listed))

    def text(self, name: str) -> str:
        """A text, or a number as one; empty where it is absent or null. Raises BadValueError."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.misfit(name, value, "a text")
        return str(value)

    def rate(self, name: str) -> float | None:
        """Requests a second; None where it is absent, null, or all are sent at once. Raises BadValueError."""
        value = self.values.get(name)
        if value is None or (isinstance(value, str) and value.strip().lower() in ("inf", "infinity", "trace")):
            return None
        if isinstance(value, float) and math.isinf(value):
            return None
        return self._number(name, value)

    def _number(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
            raise self.misfit(name, value, "a number from 0")
        return float(value)

    def misfit(self, name: str, value: object, expected: str) -> BadValueError:
        """What to raise for a value of another type."""
        shown = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
        return BadValueError(f"{self.at}.{name}: found {shown[:MAX_SHOWN]}, expected {expected}")
