"""JSON that must have the shape of a dataclass: no NaN or infinity, no unknown, missing or mistyped field."""

from __future__ import annotations

import functools
import json
import math
import types
import typing
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Kind = TypeVar("Kind")


def loads(text: str) -> Any:
    """The value of a JSON text. Raises ValueError or RecursionError on anything else, NaN and infinity included.

    >>> loads("[1, 2.5]")
    [1, 2.5]
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def build(kind: Callable[..., Kind], fields: dict[str, Any]) -> Kind:
    """An instance of the dataclass `kind`; lists become tuples, field types are checked.

    Raises:
        TypeError: a field is missing, unknown or of the wrong type.
    """
    made = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    for name, hint in _hints(cast(Hashable, type(made))).items():
        if not _is(getattr(made, name), hint):
            raise TypeError(f"{name} of a {type(made).__name__} is not {hint.__name__ if isinstance(hint, type) else hint}")
    return made


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is(value: object, hint: Any) -> bool:
    """Whether a value decoded from JSON is of the type hinted at; a whole number passes for a float, a bool never for a number."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is types.UnionType:
        return any(_is(value, option) for option in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(item, inner[1]) for item in value.values())
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)
