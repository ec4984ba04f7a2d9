"""The text of a configuration as plain values: JSON and YAML, read strictly, and never a program."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

from estimators import text_file
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import frozen

MAX_FILE_BYTES = 10**6
"""Of a configuration; the largest that people keep have a hundredth of it."""

MAX_VALUES = 100_000
"""Of a YAML text, aliases followed: a few lines of aliases of aliases stand for more values than there is memory."""

MAX_DEPTH = 50
"""Levels of tables within tables."""

MAX_SHOWN = 60
"""Characters of a wrong text that are shown."""

_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))


class RepeatedNameError(ValueError):
    """One name stands twice in an object: which of the two was meant is not known."""


class NotPlainError(ValueError):
    """A text that holds no plain values, or none that can be read; one line."""


def read_config(path: str, what: str, *, max_bytes: int = MAX_FILE_BYTES) -> str:
    """The text of a configuration, with newlines alone at the ends of its lines.

    Args:
        what: is expected, such as ``the launcher's file of one run``.
        max_bytes: that such a file may have.

    Raises:
        BadValueError: larger than any configuration; it is not read.
        UnavailableError: it cannot be read, or is no text.
    """
    try:
        if os.path.isfile(path) and os.path.getsize(path) > max_bytes:
            raise BadValueError(f"{path!r} has more than {max_bytes:,} bytes; expected {what}")
        return text_file.read(path, max_bytes=max_bytes).replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or 'not a text file'}") from None


def json_value(text: str, *, infinite: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        infinite: whether infinity is read, which some tools write where nothing limits a rate.

    Raises:
        RepeatedNameError: an object has one name twice.
        ValueError: no JSON, or NaN or infinity, which JSON does not have.
        RecursionError: nested too deep.

    >>> json_value("[1, 2.5]")
    [1, 2.5]
    """
    number = _no_nan if infinite else _finite
    return json.loads(text, parse_constant=number, parse_float=_finite, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedNameError(f"{twice[:MAX_SHOWN]}: it is there twice in one object, expected once")
    return made


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotPlainError(f"{text[:MAX_SHOWN]} is not a finite number")
    return value


def _no_nan(text: str) -> float:
    return float(text) if math.isinf(float(text)) else _finite(text)


def table(text: str, *, is_json: bool, infinite: bool = False, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """A configuration's names and values.

    Args:
        infinite, max_values: as of json_value and yaml_value.

    Raises:
        NotPlainError, RepeatedNameError: not JSON or YAML, no table, or nothing that is plain.

    >>> table("a: {b: 1}", is_json=False)
    {'a': {'b': 1}}
    """
    try:
        value = json_value(text, infinite=infinite) if is_json else yaml_value(text, infinite=infinite, max_values=max_values)
    except json.JSONDecodeError as error:
        raise NotPlainError(f"line {error.lineno}: no JSON: {error.msg}") from None
    except RecursionError:
        raise NotPlainError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "nothing" if value is None else "a single value"
        raise NotPlainError(f"it holds {kind}; expected names with values")
    if is_json:
        _demand_shallow(value)
    return value


def _demand_shallow(value: object, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise NotPlainError(f"it is nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _demand_shallow(item, depth + 1)


def yaml_value(text: str, *, infinite: bool = False, max_values: int = MAX_VALUES) -> Any:
    """The value of a YAML text of one document: texts, numbers, true, false, null, lists and tables whose names are texts.

    Args:
        infinite: as of json_value.
        max_values: that it may stand for.

    Raises:
        RepeatedNameError: a table has one name twice.
        NotPlainError: not YAML, a tag that makes anything else, or more values or levels than a configuration has.
    """
    import yaml  # deferred: most answers read no YAML

    loader = _loader()
    try:
        _demand_plain(yaml.parse(text, Loader=loader), max_values)
        return _plain(yaml.load(text, Loader=loader), _no_nan if infinite else _finite)
    except (RepeatedNameError, NotPlainError):
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        raise NotPlainError(f"line {line + 1}: {_problem(text, line, str(error.problem))}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise NotPlainError(f"no YAML: {' '.join(str(error).split())[:MAX_SHOWN]}") from None


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader, with names of tables as they are written: true and 1 are one name to Python."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            self.flatten_mapping(node)
            return {name.value: self.construct_object(value, deep=deep) for name, value in node.value}

    return Loader


def _problem(text: str, line: int, problem: str) -> str:
    """What is wrong with a line, in the words of who wrote it."""
    lines = text.splitlines()
    if "token" in problem and line < len(lines) and "\t" in lines[line]:
        return "a tab; YAML is indented by blanks"
    if "expected ':'" in problem:
        return "expected KEY: VALUE"
    return " ".join(problem.split())[:100]


@frozen
class _Open:
    """A list or table whose end has not come.

    Attributes:
        names: of a table: those that have come; None for a list.
        anchor: what aliases call it; None without one.
        before: values that had come before it.
    """

    names: set[str] | None
    anchor: str | None
    before: int


def _demand_plain(events: Iterable[Any], max_values: int) -> None:
    """Demand of the events of a YAML text, before any value is made, that they make plain values and not too many."""
    seen = _Seen(max_values)
    for event in events:
        seen.take(type(event).__name__.removesuffix("Event"), event)


class _Seen:
    """What has come of a YAML text."""

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._open: list[_Open] = []
        self._sizes: dict[str, int] = {}
        self._num_values = 0
        self._is_name = False

    def take(self, kind: str, event: Any) -> None:
        """Look at the next event. Raises RepeatedNameError or NotPlainError."""
        if kind in ("SequenceEnd", "MappingEnd"):
            ended = self._open.pop()
            if ended.anchor:
                self._sizes[ended.anchor] = self._num_values - ended.before
            self._is_name = self._in_table()
        elif kind in ("Scalar", "Alias", "SequenceStart", "MappingStart"):
            line = event.start_mark.line + 1
            _demand_plain_tag(getattr(event, "tag", None), line)
            if self._is_name and kind != "Scalar":
                raise NotPlainError(f"line {line}: a name that is no text")
            before = self._num_values
            self._num_values += self._size_of_alias(event.anchor, line) if kind == "Alias" else 1
            if self._num_values > self._max_values:
                raise NotPlainError(
                    f"line {line}: it stands for more than {self._max_values:,} values; expected the configuration of one run"
                )
            if kind.endswith("Start"):
                self._begin(_Open(names=set() if kind == "MappingStart" else None, anchor=event.anchor, before=before), line)
            else:
                self._end_value(kind, event, line)

    def _size_of_alias(self, name: str, line: int) -> int:
        if name not in self._sizes:
            raise NotPlainError(f"line {line}: the alias *{name[:MAX_SHOWN]} stands for what it lies in, or for nothing")
        return self._sizes[name]

    def _begin(self, begun: _Open, line: int) -> None:
        self._open.append(begun)
        if len(self._open) > MAX_DEPTH:
            raise NotPlainError(f"line {line}: it is nested deeper than {MAX_DEPTH} levels")
        self._is_name = self._in_table()

    def _end_value(self, kind: str, event: Any, line: int) -> None:
        if kind == "Scalar" and event.anchor:
            self._sizes[event.anchor] = 1
        names = self._open[-1].names if self._open else None
        if self._is_name and names is not None:
            if event.value in names:
                raise RepeatedNameError(f"line {line}: {event.value[:MAX_SHOWN]} is there twice in one table, expected once")
            names.add(event.value)
        self._is_name = names is not None and not self._is_name

    def _in_table(self) -> bool:
        return bool(self._open) and self._open[-1].names is not None


def _demand_plain_tag(tag: str | None, line: int) -> None:
    if tag is not None and tag not in _PLAIN_TAGS:
        shown = tag.replace("tag:yaml.org,2002:", "!!")[:MAX_SHOWN]
        raise NotPlainError(f"line {line}: the tag {shown} is not read; expected plain values")


def _plain(value: Any, number: Callable[[str], float]) -> Any:
    """Dates as they are written; no number that is none."""
    if isinstance(value, dict):
        return {name: _plain(item, number) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, number) for item in value]
    if isinstance(value, float):
        return number(repr(value))
    return value if value is None or isinstance(value, str | int | bool) else str(value)
