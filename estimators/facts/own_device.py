"""A device of one's own: the columns of hardware.csv as JSON, in a file or as it is."""

from __future__ import annotations

import json
import os
from typing import Any

from estimators import text_file
from estimators.errors import BadValueError
from estimators.facts import data
from estimators.facts.entries import HARDWARE_COLUMNS, PEAK_DTYPES, hardware_from
from estimators.facts.registry import hardware_ids
from estimators.parsing import parse_byte_rate
from estimators.spec import Hardware, Source

REQUIRED = ("id", "memory_bytes", "memory_bytes_per_s")
USUAL = {"vendor": "unknown", "architecture": "unknown", "memory_basis": "marketed", "confidence": "medium"}
"""What is taken for columns that are left out; every other one is empty."""

NOT_ASKED = ("sources", "clock_basis", "vector_clock_hz", "tensor_clock_hz")
"""Columns that no estimate reads: hardware.csv has them for its own checks."""

COLUMNS = tuple(column for column in HARDWARE_COLUMNS if column not in NOT_ASKED)
PLAUSIBLE = {
    "_flop_per_s": (1e9, 1e18, "250e12 for 250 TFLOP/s"),
    "_bytes_per_s": (1e8, 1e15, "1.2e12 for 1.2 TB/s"),
    "memory_bytes": (2**20, 1e14, "48e9 for 48 GB"),
    "power_w": (0.1, 1e5, "450"),
}
"""End of a column -> least and most of any device: beyond, another unit was meant."""

MAX_BYTES = 2**16
EXAMPLE = '{"id": "my-gpu", "bf16_flop_per_s": 250e12, "memory_bytes": 48e9, "memory_bytes_per_s": 1.2e12}'


class _OwnRow(data.Row):
    """A row that stands in no file of the registry."""

    __slots__ = ()

    def fail(self, column: str, expected: str) -> BadValueError:
        return BadValueError(f"--hardware {self._path}: {column} is {self._cells[column][:60]!r}; expected {expected}")


def is_own(text: str) -> bool:
    """Whether a text describes a device, or is the name of a file that does, and no name of a device."""
    return text.lstrip().startswith(("{", "[")) or text.casefold().endswith(".json")


def names_in(text: str) -> list[str]:
    """What stands between commas, but for those inside braces: a device of one's own has some.

    >>> names_in('h100,{"id": "mine", "power_w": 300}')
    ['h100', '{"id": "mine", "power_w": 300}']
    """
    parts, depth = [""], 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth < 1:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def own_device(text: str) -> Hardware:
    """The device that a JSON text, or the file of that name, describes.

    Raises:
        BadValueError: no file, no JSON, a key that is missing or unknown, or a value that its column does not take; one line.

    >>> own_device('{"id": "mine", "bf16_flop_per_s": 250e12, "memory_bytes": 48e9, "memory_bytes_per_s": 1.2e12}').peak("bf16")
    250000000000000.0
    """
    place = "{...}" if text.lstrip().startswith(("{", "[")) else repr(text[:60])
    try:
        body = json.loads(text if place == "{...}" else _content(text))
    except (ValueError, RecursionError):
        raise BadValueError(f"--hardware {place} is not JSON; expected an object such as {EXAMPLE}") from None
    if not isinstance(body, dict):
        raise BadValueError(f"--hardware {place} holds a {type(body).__name__}; expected an object such as {EXAMPLE}")
    _demand_keys(body, place)
    cells = {column: _cell(body.get(column, USUAL.get(column, "")), column, place) for column in COLUMNS}
    cells["name"] = cells["name"] or cells["id"]
    row = _OwnRow(place, 1, cells)
    if row.text("id").casefold() in hardware_ids():
        raise row.fail("id", "one that no device of `python -m bench list hardware` has")
    for ending, (least, most, example) in PLAUSIBLE.items():
        for column in (column for column in COLUMNS if column.endswith(ending)):
            value = row.optional_number(column)
            if value is not None and not least <= value <= most:
                raise row.fail(column, f"{least:g} to {most:g}, as in {example}")
    return hardware_from(row, Source(title=f"as described with --hardware {place}"))


def _content(path: str) -> str:
    expected = "expected a JSON file that describes a device"
    if not os.path.isfile(path):
        raise BadValueError(f"no file {path[:60]!r}; {expected}, such as {EXAMPLE}")
    try:
        return text_file.read(path, max_bytes=MAX_BYTES)
    except OSError as error:
        raise BadValueError(f"cannot read {path[:60]!r}: {error.strerror}; {expected}") from None


def _demand_keys(body: dict[str, Any], place: str) -> None:
    unknown = [key for key in body if key not in COLUMNS]
    if unknown:
        raise BadValueError(f"--hardware {place}: unknown key {unknown[0][:40]!r}; expected: {', '.join(COLUMNS)}")
    missing = [key for key in REQUIRED if key not in body]
    if missing:
        raise BadValueError(f"--hardware {place}: {missing[0]} is missing; expected for example {EXAMPLE}")
    if not any(f"{dtype}_flop_per_s" in body for dtype in PEAK_DTYPES):
        raise BadValueError(f"--hardware {place}: no peak; expected at least one such as bf16_flop_per_s, dense, with fp32 accumulate")


def _cell(value: Any, column: str, place: str) -> str:
    """A value as a cell of hardware.csv has it; rates may have their unit, as in ``1.2TB/s``."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float | list):
        raise BadValueError(f"--hardware {place}: {column} is {str(value)[:60]!r}; expected a number or a text")
    if isinstance(value, list):
        return "|".join(map(str, value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str) and value.endswith("/s") and column.endswith("_bytes_per_s"):
        return repr(parse_byte_rate(value, column))
    return str(value)
