"""The user's own tables: comma-separated files of daily views or of mails. Every complaint names the line."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator

from estimators import text_file
from estimators.errors import BadValueError, UnavailableError

NUM_MAIL_FEATURES = 57
"""Inputs of the spam classifier: 48 words, 6 characters and 3 measures of capital letters, as in UCI Spambase."""

MAX_FILE_BYTES = 64 * 2**20
MAX_VALUE = 1e12
"""Larger numbers are refused: their squares would not fit the arithmetic, and no channel has that many views."""


def read_views(path: str) -> tuple[float, ...]:
    """Daily views from a file with columns date,views, or views alone; a first line of column names is optional.

    Raises:
        BadValueError: a line that is not a day of views, or dates that do not follow each other day by day; names the line.
        UnavailableError: the file cannot be read.
    """
    expected = "expected date,views (such as 2017-01-01,3100) or views alone"
    views: list[float] = []
    day: datetime.date | None = None
    width = 0
    for line, cells in _lines(path):
        if not width:
            width = len(cells)
            if width > 2:
                raise BadValueError(f"{path!r} line {line} has {width} columns; {expected}")
            if _number(cells[-1]) is None and cells[-1].casefold() == "views":
                continue
        if len(cells) != width:
            raise BadValueError(f"{path!r} line {line} has {len(cells)} columns where the first had {width}; {expected}")
        value = _number(cells[-1])
        if value is None or value < 0:
            raise BadValueError(f"{path!r} line {line}: {cells[-1][:40]!r} is not a number of views; {expected}")
        if width == 2:
            day = _next_day(path, line, cells[0], day)
        views.append(value)
    return tuple(views)


def _next_day(path: str, line: int, text: str, before: datetime.date | None) -> datetime.date:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise BadValueError(f"{path!r} line {line}: {text[:40]!r} is no date; expected for example 2017-01-31") from None
    if before is not None and day != before + datetime.timedelta(days=1):
        raise BadValueError(f"{path!r} line {line}: {day} follows {before}; expected one line per day in order of time, without gaps")
    return day


def read_mails(path: str, num_features: int) -> tuple[list[list[float]], list[int]]:
    """Mails from a file in the layout of UCI Spambase: the features, then 1 for spam or 0.

    A first line of column names is optional.

    Raises:
        BadValueError: a line that is not a mail; names the line.
        UnavailableError: the file cannot be read.
    """
    expected = f"expected {num_features} numbers and then 1 (spam) or 0, as in UCI Spambase"
    features: list[list[float]] = []
    labels: list[int] = []
    for line, cells in _lines(path):
        if len(cells) != num_features + 1:
            raise BadValueError(f"{path!r} line {line} has {len(cells)} columns; {expected}")
        values = [_number(cell) for cell in cells]
        if not labels and all(value is None for value in values) and line == 1:
            continue
        if None in values:
            wrong = values.index(None)
            raise BadValueError(f"{path!r} line {line}, column {wrong + 1}: {cells[wrong][:40]!r} is not a number; {expected}")
        if values[-1] not in (0, 1):
            raise BadValueError(f"{path!r} line {line}: label {cells[-1][:40]!r}; {expected}")
        *row, label = (value for value in values if value is not None)
        features.append(row)
        labels.append(int(label))
    return features, labels


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= MAX_VALUE else None


def _lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the lines that are not empty."""
    try:
        reader = csv.reader(io.StringIO(text_file.read(path, max_bytes=MAX_FILE_BYTES), newline=""))
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except OSError as error:
        raise UnavailableError(f"cannot read the data {path!r}: {error.strerror}; expected a comma-separated file") from None
    except (ValueError, csv.Error) as error:
        detail = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadValueError(f"{path!r} cannot be read as a table: {detail}; expected a comma-separated file") from None
