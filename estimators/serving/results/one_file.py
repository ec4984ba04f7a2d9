"""One result file: its text read safely, its tool recognised by its keys, refused in one line where it is neither."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from typing import Any

from estimators import strict_text
from estimators.errors import BadValueError, UnavailableError
from estimators.serving.results import aiperf, guidellm, inference_perf, inferencex, llama_bench, llmd_report, sglang, vllm
from estimators.serving.results.format import Format
from estimators.serving.results.place import Place
from estimators.serving.results.result import ServingResult

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        vllm.FORMAT,
        sglang.FORMAT,
        guidellm.FORMAT,
        aiperf.FORMAT,
        aiperf.LINES,
        inference_perf.FORMAT,
        llama_bench.FORMAT,
        inferencex.FORMAT,
        llmd_report.FORMAT,
    )
}
"""What may stand before a file, as in ``vllm=result.json`` -> its format."""

WHAT = "the result file of a load generator"
MAX_BYTES = 64 * 2**20
"""Of a result file: ten thousand requests with every token's time have half of it."""

MAX_VALUES = 2_000_000
"""Of a YAML report; guidellm writes two hundred a request."""

MAX_RUNS = 1000
"""In one file."""


def named(given: str) -> tuple[str, str]:
    """The format that stands before a path, empty for none, and the path."""
    name, equals, path = given.partition("=")
    return (name.lower(), path) if equals and name.lower() in FORMATS else ("", given)


def read_results(path: str, name: str = "") -> list[ServingResult]:
    """The runs that a file holds.

    Args:
        name: of its format; empty to recognise it.

    Raises:
        BadValueError: no result file of a known tool, or one that is cut off or has something wrong in it; one line.
        UnavailableError: it cannot be read, or is no text.
    """
    label = os.path.basename(path)[:60]
    text = strict_text.read_config(path, WHAT, max_bytes=MAX_BYTES)
    try:
        rows = _rows(text, path)
        form = FORMATS[name] if name else _recognised(rows)
        found = form.read(
            [Place(values=row, at=label if len(rows) == 1 else f"{label}.{number}") for number, row in enumerate(rows, start=1)]
        )
    except (BadValueError, UnavailableError) as error:
        raise type(error)(str(error) if label in str(error) else f"{label}: {error}") from None
    except RecursionError:
        raise BadValueError(f"{label}: it is nested too deep; expected {WHAT}") from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, csv.Error) as error:
        raise BadValueError(f"{label}: {' '.join(str(error).split())[:160]}; expected {WHAT}") from None
    if not found:
        raise BadValueError(f"{label}: it holds no run; expected {WHAT}")
    if len(found) > MAX_RUNS:
        raise BadValueError(f"{label}: it holds {len(found):,} runs; expected at most {MAX_RUNS:,}")
    return found


def _rows(text: str, path: str) -> list[dict[str, Any]]:
    """The tables of a file: of a list or of lines each of them, else the only one."""
    stripped = text.strip()
    if not stripped:
        raise BadValueError("it is empty")
    if stripped[0] == "|" or path.lower().endswith(".md"):
        return llama_bench.markdown_rows(stripped)
    if stripped[0] in "{[":
        return _of_json(stripped)
    if stripped.partition("\n")[0].startswith("build_commit,"):
        return [_of_csv(row) for row in csv.DictReader(io.StringIO(stripped), strict=True)]
    return [strict_text.table(stripped, is_json=False, infinite=True, max_values=MAX_VALUES)]


def _of_json(text: str) -> list[dict[str, Any]]:
    try:
        value = strict_text.json_value(text, infinite=True)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise BadValueError(f"line {error.lineno}: no JSON, or cut off: {error.msg}") from None
        value = [_line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    rows = value if isinstance(value, list) else [value]
    if not all(isinstance(row, dict) for row in rows):
        raise BadValueError("it holds other things than objects")
    return rows


def _line(number: int, line: str) -> Any:
    try:
        return strict_text.json_value(line, infinite=True)
    except json.JSONDecodeError as error:
        raise BadValueError(f"line {number}: no JSON, or cut off: {error.msg}") from None


def _of_csv(row: Mapping[str | None, Any]) -> dict[str, Any]:
    """A row of a CSV file, its numbers as such."""
    if None in row or None in row.values():
        raise BadValueError("a row has another number of cells than the header")
    return {str(name): _number(value) for name, value in row.items()}


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _recognised(rows: list[dict[str, Any]]) -> Format:
    found = next((form for form in FORMATS.values() if form.is_of(rows)), None)
    if found is None:
        raise BadValueError(f"its keys are of no tool that is known; expected one of: {', '.join(form.about for form in FORMATS.values())}")
    return found
