"""Facts as files, and how they are read: one file at a time, strictly, with the place in the message."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from typing import Any

from estimators.errors import BadValueError

FOLDER = os.path.dirname(__file__)


def file(*parts: str) -> str:
    """Path of a data file, such as ``file("models", "phi-2.json")``."""
    return os.path.join(FOLDER, *parts)


def _place(path: str) -> str:
    return os.path.join(*path.split(os.sep)[-2:])


def read_json(path: str) -> dict[str, Any]:
    """Read a data file that holds one JSON object.

    Raises:
        BadValueError: not there, not JSON, or no object; one line.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            body = json.load(stream)
    except OSError as error:
        raise BadValueError(f"cannot read {_place(path)}: {error.strerror}; reinstall the package or restore the file") from None
    except ValueError as error:
        raise BadValueError(f"{_place(path)} is not JSON: {error}; mend or restore the file") from None
    if not isinstance(body, dict):
        raise BadValueError(f"{_place(path)} holds a {type(body).__name__}; expected a JSON object")
    return body


class Row:
    """One line of a CSV file; every complaint names the file, the line and the column."""

    __slots__ = ("_cells", "_path", "line")

    def __init__(self, path: str, line: int, cells: dict[str, str]) -> None:
        self._path, self.line, self._cells = path, line, cells

    def fail(self, column: str, expected: str) -> BadValueError:
        """The error to raise for one cell."""
        return BadValueError(f"{_place(self._path)}, line {self.line}: {column} is {self._cells[column][:60]!r}; expected {expected}")

    def text(self, column: str, *, choices: Sequence[str] = ()) -> str:
        """A cell that must not be empty, or one of a few words."""
        cell = self._cells[column]
        if not cell or (choices and cell not in choices):
            raise self.fail(column, f"one of: {', '.join(choices)}" if choices else "some text")
        return cell

    def optional_text(self, column: str) -> str:
        """A cell that may be empty."""
        return self._cells[column]

    def texts(self, column: str) -> tuple[str, ...]:
        """A list, separated by ``|``; empty where the cell is."""
        return tuple(self._cells[column].split("|")) if self._cells[column] else ()

    def number(self, column: str) -> float:
        """A positive finite number such as ``312e12``."""
        try:
            value = float(self._cells[column])
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise self.fail(column, "a positive number such as 312e12")
        return value

    def optional_number(self, column: str) -> float | None:
        """A positive finite number, or None where the cell is empty: unknown or unsupported."""
        return self.number(column) if self._cells[column] else None

    def integer(self, column: str) -> int:
        """A positive whole number, digits only."""
        cell = self._cells[column]
        if not (cell.isascii() and cell.isdigit() and int(cell)):
            raise self.fail(column, "a positive whole number in digits")
        return int(cell)

    def optional_integer(self, column: str) -> int | None:
        """A positive whole number, or None where the cell is empty."""
        return self.integer(column) if self._cells[column] else None

    def optional_count(self, column: str) -> int | None:
        """A positive count as `parsing.parse_count` reads it, such as ``1.4T`` or ``3.8e25``; None where the cell is empty."""
        from estimators.parsing import parse_count

        if not self._cells[column]:
            return None
        try:
            return parse_count(self._cells[column], column, maximum=10**30)
        except BadValueError:
            raise self.fail(column, "a positive count such as 1.4T or 3.8e25") from None


def read_rows(path: str, columns: Sequence[str]) -> list[Row]:
    """Read a CSV file with exactly these columns, in this order.

    Raises:
        BadValueError: not there, another header, or a line with too few or too many cells; one line.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            lines = list(csv.reader(stream))
    except OSError as error:
        raise BadValueError(f"cannot read {_place(path)}: {error.strerror}; reinstall the package or restore the file") from None
    header = lines[0] if lines else []
    if header != list(columns):
        wrong = sorted(set(header) ^ set(columns)) or ["the order"]
        raise BadValueError(f"{_place(path)}: the header differs in {', '.join(wrong)}; expected: {','.join(columns)}")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(columns):
            expected = f"expected {len(columns)} (a comma inside needs quotes)"
            raise BadValueError(f"{_place(path)}, line {number}: {len(cells)} cells; {expected}")
        rows.append(Row(path, number, dict(zip(columns, cells, strict=True))))
    return rows
