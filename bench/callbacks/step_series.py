"""The steps of a long training, kept small: numbers in columns, what repeats itself once."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

Row = TypeVar("Row")


class _Numbers:
    """A column of numbers, whole ones up to 2^53 among them; None where there is none."""

    def __init__(self) -> None:
        self._values, self._kinds = array("d"), bytearray()

    def extend(self, values: Sequence[float | None]) -> None:
        self._values.extend([0.0 if value is None else value for value in values])
        self._kinds.extend([0 if value is None else 1 if isinstance(value, int) else 2 for value in values])

    def __getitem__(self, at: int) -> float | int | None:
        kind = self._kinds[at]
        return None if not kind else int(self._values[at]) if kind == 1 else self._values[at]


class _Repeated:
    """A column of values that are mostly seen again: each once, and which of them it is. A tuple is kept by its parts."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self._parts: list[Any] = []
        self._which, self._ends, self._is_tuple = array("I"), array("I"), bytearray()

    def extend(self, values: Sequence[Any]) -> None:
        last: Any = _Repeated
        numbers: list[int] = []
        for value in values:
            if value is not last:
                last, numbers = value, [self._number(part) for part in (value if isinstance(value, tuple) else (value,))]
            self._is_tuple.append(isinstance(value, tuple))
            self._which.extend(numbers)
            self._ends.append(len(self._which))

    def _number(self, part: Any) -> int:
        number = self._known.setdefault(part, len(self._parts))
        if number == len(self._parts):
            self._parts.append(part)
        return number

    def __getitem__(self, at: int) -> Any:
        parts = tuple(self._parts[number] for number in self._which[self._ends[at - 1] if at else 0 : self._ends[at]])
        return parts if self._is_tuple[at] else parts[0]


class StepSeries(Sequence[Row], Generic[Row]):
    """Rows of one frozen dataclass, in some tens of bytes each; reads like a list of them.

    Args:
        kind: the dataclass; fields that are annotated as int or float, or None beside them, are numbers.
    """

    def __init__(self, kind: type[Row]) -> None:
        self._kind, self._num = kind, 0
        names = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        numbers = {"float", "int", "float | None", "int | None"}
        self._columns: dict[str, _Numbers | _Repeated] = {name: _Numbers() if of in numbers else _Repeated() for name, of in names.items()}

    def append(self, row: Row) -> None:
        """One more."""
        self.extend([tuple(getattr(row, name) for name in self._columns)])

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """More of them, each as its fields in their order."""
        for column, values in zip(self._columns.values(), zip(*rows, strict=True), strict=False):
            column.extend(values)
        self._num += len(rows)

    def __len__(self) -> int:
        return self._num

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self._row(place) for place in range(*at.indices(self._num))]
        place = at + self._num if at < 0 else at
        if not 0 <= place < self._num:
            raise IndexError(f"{at} of {self._num}")
        return self._row(place)

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(self._num))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == self._num and all(map(lambda a, b: a == b, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _row(self, place: int) -> Row:
        return self._kind(**{name: column[place] for name, column in self._columns.items()})
