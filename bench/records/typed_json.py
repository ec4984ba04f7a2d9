"""JSON read strictly into typed classes, and those written as JSON again. What does not fit is named by its place in the file."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union

from bench.records.part import Part
from estimators.printable import printable_json
from estimators.strict_text import RepeatedNameError, json_value

Kind = TypeVar("Kind")

LARGEST, SMALLEST = 1e40, 1e-50
"""Sizes that a number other than 0 may have: beyond what a 32-bit float holds there is no measured figure, and no FLOP count."""

LARGEST_EXACT = 2**53
"""A float holds every whole number up to it, so those stay as they were written; numpy takes none beyond 64 bits."""

MAX_DEPTH = 100
"""Levels of what is kept untyped, such as a model's configuration."""

MAX_SHOWN = 40
"""Characters of a wrong value that are shown."""

_UNIONS = (types.UnionType, Union)
_EXPECTED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


class MisfitError(ValueError):
    """JSON that does not have the shape it must have; one line says where, what was found and what was expected."""


@dataclasses.dataclass(frozen=True, slots=True)
class AtLeast:
    """A bound on a number, as Annotated[int, AtLeast(1)]."""

    least: float

    def __contains__(self, value: float) -> bool:
        return value >= self.least

    def __str__(self) -> str:
        return f"of at least {self.least:g}"


@dataclasses.dataclass(frozen=True, slots=True)
class Above:
    """A bound on a number, as Annotated[float, Above(0)]."""

    bound: float

    def __contains__(self, value: float) -> bool:
        return value > self.bound

    def __str__(self) -> str:
        return f"above {self.bound:g}"


@dataclasses.dataclass(frozen=True, slots=True)
class AtMost:
    """A bound on a number, as Annotated[float, AtMost(1)]."""

    most: float

    def __contains__(self, value: float) -> bool:
        return value <= self.most

    def __str__(self) -> str:
        return f"of at most {self.most:g}"


@dataclasses.dataclass(frozen=True, slots=True)
class OneOf:
    """The texts that there are, as Annotated[str, OneOf(names)]."""

    names: tuple[str, ...]

    def __contains__(self, value: str) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return f"out of {', '.join(self.names)}"


LONGEST_S = 1e9

MeasuredSeconds = Annotated[float, AtLeast(0), AtMost(LONGEST_S)]
"""A time that a clock gave: thirty years at most. 0 is one of a coarse clock."""


def loads(text: str) -> Any:
    """The value of a JSON text. Raises ValueError or RecursionError on anything else, NaN and infinity included.

    Raises:
        MisfitError: an object has one name twice: which of the two was meant is not known.

    >>> loads("[1, 2.5]")
    [1, 2.5]
    """
    try:
        return json_value(text)
    except RepeatedNameError as error:
        raise MisfitError(str(error)) from None


def dumps(value: Any) -> str:
    """The JSON text of a plain value, to be read by people too. Raises ValueError on NaN and infinity."""
    return printable_json(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def build(kind: type[Kind], value: object, at: str = "") -> Kind:
    """A decoded JSON value as the type `kind`: a dataclass or a Part whose fields have types in turn.

    A dataclass knows all its fields; fields that a Part does not know, which a later version may have added, are passed over.

    Args:
        at: place of the value in its file, as dotted names.

    Raises:
        MisfitError: a field is missing, unknown, of another type, or a number out of its bounds.

    >>> build(dict[str, int], {"a": 1.5}, "sizes")
    Traceback (most recent call last):
        ...
    bench.records.typed_json.MisfitError: sizes.a: found 1.5, expected a whole number
    """
    built: Kind = _build(kind, value, at)
    return built


def plain(value: Any) -> Any:
    """What json.dumps takes of a value that `build` can read: fields that were not stated are left out."""
    if isinstance(value, Part):
        return {name: plain(field) for name, field in value.stated().items()}
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Name of a field to its type and whether it may be absent."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if issubclass(kind, Part):
        return {name: (hint, hasattr(kind, name)) for name, hint in hints.items()}
    nothing = dataclasses.MISSING
    return {f.name: (hints[f.name], (f.default, f.default_factory) != (nothing, nothing)) for f in dataclasses.fields(kind)}


def _build(hint: Any, value: object, at: str) -> Any:
    if hint is Any:
        _demand_bounded(value, at)
        return value
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        built = _build(inner[0], value, at)
        if not all(built in bound for bound in inner[1:]):
            raise _misfit(value, hint, at)
        return built
    if origin in _UNIONS:
        if value is None and type(None) in inner:
            return None
        first = next(option for option in inner if option is not type(None))
        return _build(next((option for option in inner if option is type(value)), first), value, at)
    if origin is tuple and isinstance(value, list):
        if inner[-1] is not Ellipsis and len(value) != len(inner):
            raise _misfit(value, hint, at)
        if inner[-1] is Ellipsis and _are_plain_numbers(inner[0], value):
            return tuple(value)
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_build(kind, item, f"{at}.{i}") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))
    if isinstance(value, dict) and origin in (dict, Mapping):
        return {name: _build(inner[1], item, _join(at, name)) for name, item in value.items()}
    if isinstance(value, dict) and (dataclasses.is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, Part))):
        return _of_fields(hint, value, at)
    if hint in (int, float) and isinstance(value, (int, hint)) and not isinstance(value, bool) and _is_bounded(value):
        return float(value) if hint is float and abs(value) > LARGEST_EXACT else value
    if hint in (str, bool, type(None)) and isinstance(value, hint):
        return value
    raise _misfit(value, hint, at)


def _of_fields(kind: Any, value: dict[str, Any], at: str) -> Any:
    fields = _fields(kind)
    missing = next((name for name, (_, may_lack) in fields.items() if name not in value and not may_lack), None)
    if missing is not None:
        raise MisfitError(f"{_join(at, missing)}: it is not there, expected {_expected(fields[missing][0])}")
    unknown = next((name for name in value if name not in fields), None)
    if unknown is not None and not issubclass(kind, Part):
        raise MisfitError(f"{_join(at, unknown)}: no field has this name; expected {', '.join(fields)}")
    return kind(**{name: _build(fields[name][0], item, _join(at, name)) for name, item in value.items() if name in fields})


def _are_plain_numbers(hint: Any, values: list[Any]) -> bool:
    """Whether all are numbers within their bounds, or null where that may be, so that none needs a look of its own.

    A series has a million of them.
    """
    options = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    may_lack = type(None) in options
    hints = [option for option in options if option is not type(None)]
    if len(hints) != 1:
        return False
    (hint,) = hints
    kind, *bounds = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    if kind not in (int, float) or not set(map(type, values)) <= {kind, *((type(None),) if may_lack else ())}:
        return False
    known = [value for value in values if value is not None] if may_lack else values
    if not known:
        return True
    sizes = list(map(abs, known))
    ends = (min(known), max(known))
    total = sum(known)
    within = total == total and _is_bounded(min(filter(None, sizes), default=0)) and _is_bounded(max(sizes))  # no NaN equals itself
    return within and all(end in bound for end in ends for bound in bounds)


def _join(at: str, name: str) -> str:
    return f"{at}.{name[:MAX_SHOWN]}" if at else name[:MAX_SHOWN]


def _is_bounded(value: float) -> bool:
    return value == 0 or SMALLEST <= abs(value) <= LARGEST


def _demand_bounded(value: object, at: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise MisfitError(f"{at[:MAX_SHOWN]}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, int | float) and not _is_bounded(value):
        raise _misfit(value, float, at)
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        _demand_bounded(item, _join(at, str(name)), depth + 1)


def _expected(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return " ".join([_expected(inner[0]), *map(str, inner[1:])])
    if origin in _UNIONS:
        return " or ".join(_expected(option) for option in inner)
    if origin is tuple:
        return "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)}"
    return _EXPECTED.get(hint, "an object")


def _misfit(value: object, hint: Any, at: str) -> MisfitError:
    if isinstance(value, dict | list):
        shown = ("an object" if isinstance(value, dict) else "a list") + (f" of {len(value)}" if value else " without items")
    elif isinstance(value, int | float) and not isinstance(value, bool) and not _is_bounded(value):
        return MisfitError(f"{at}: found a number of another size than {SMALLEST:g} to {LARGEST:g}")
    else:
        shown = json.dumps(value, ensure_ascii=False)
    return MisfitError(f"{at}: found {shown[:MAX_SHOWN]}, expected {_expected(hint)}")
