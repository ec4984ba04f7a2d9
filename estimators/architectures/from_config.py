"""A Hugging Face config.json -> a Model of some family. Strict: a field that is there must make sense."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from estimators.errors import BadConfigError, NoOpTableError, near_misses
from estimators.spec import Model, Source

Default = TypeVar("Default")

MAX_CONFIG_BYTES = 8 * 2**20
MAX_DIMENSION = 10**9
"""A config's integer may not be larger: the widest vocabulary in use has 262,208 rows."""


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a config.json, or the one inside a checkpoint folder.

    Raises:
        BadConfigError: not there, too large, not JSON, nested too deeply, or no object; one line.
    """
    file = os.fspath(path)  # not pathlib: it costs 5 ms to import
    if os.path.isdir(file):
        file = os.path.join(file, "config.json")
    expected = "expected a Hugging Face config.json or a folder that holds one"
    try:
        if not os.path.isfile(file):
            raise BadConfigError(f"no config file at {str(path)!r}; {expected}")
        if os.path.getsize(file) > MAX_CONFIG_BYTES:
            raise BadConfigError(f"{file!r} has {os.path.getsize(file):,} bytes; {expected}, at most {MAX_CONFIG_BYTES:,} bytes")
        config = _read_json(file)
    except OSError as error:
        raise BadConfigError(f"cannot read {file!r}: {error.strerror}; {expected}") from None
    except RecursionError:
        raise BadConfigError(f"{file!r} is nested too deeply to be a model's configuration; {expected}") from None
    except ValueError as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "a number or a character"
        raise BadConfigError(f"{file!r} is not valid JSON ({place}); {expected}") from None
    if not isinstance(config, dict):
        raise BadConfigError(f"{file!r} holds a {type(config).__name__}, not an object; {expected}")
    return config


def _read_json(file: str) -> Any:
    with open(file, encoding="utf-8") as stream:
        return json.load(stream)


class Fields:
    """Typed access to a config's fields; every complaint names the field, the value and what was expected.

    Attributes:
        taken: field -> the default that stands in for it, where the config does not have it; with the fields of its parts.
    """

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        self.config = config
        self.name = name
        self.taken: dict[str, object] = {}
        self._prefix = ""

    def part(self, key: str, config: Mapping[str, Any]) -> Fields:
        """The fields of one part of a model, which stands under `key`."""
        part = Fields(config, f"{self.name}: {key}")
        part.taken, part._prefix = self.taken, f"{self._prefix}{key}."
        return part

    def default(self, key: str, value: Default) -> Default:
        """What stands in for a field that is not there, noted as such."""
        self.taken[self._prefix + key] = value
        return value

    def _get(self, keys: tuple[str, ...]) -> tuple[str, Any]:
        for key in keys:
            if self.config.get(key) is not None:
                return key, self.config[key]
        return keys[0], None

    def fail(self, key: str, value: object, expected: str) -> BadConfigError:
        """The error to raise for one field."""
        return BadConfigError(f"{self.name}: {key} is {str(value)[:60]!r}; expected {expected}")

    def integer(self, *keys: str, default: int | None = None, minimum: int = 1) -> int:
        """The first of `keys` that is set, as an integer within minimum..MAX_DIMENSION."""
        key, value = self._get(keys)
        if value is None:
            if default is None:
                raise BadConfigError(f"{self.name}: {' or '.join(keys)} is missing; expected a whole number from {minimum}")
            return self.default(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_DIMENSION:
            raise self.fail(key, value, f"a whole number from {minimum} to {MAX_DIMENSION:,}")
        return value

    def optional_integer(self, *keys: str, minimum: int = 1) -> int | None:
        """The first of `keys` that is set, or None."""
        return self.integer(*keys, minimum=minimum) if self._get(keys)[1] is not None else None

    def flag(self, key: str, default: bool) -> bool:
        """A true or false."""
        value = self.config.get(key)
        if value is None:
            return self.default(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, value, "true or false")
        return value

    def integers(self, key: str, *, minimum_length: int) -> tuple[int, ...]:
        """A list of positive integers."""
        value = self.config.get(key)
        fits = isinstance(value, list) and minimum_length <= len(value) <= 10_000
        if not fits or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MAX_DIMENSION for n in value or ()):
            raise self.fail(key, value, f"a list of {minimum_length} or more whole numbers from 1 to {MAX_DIMENSION:,}")
        assert isinstance(value, list)
        return tuple(value)

    def choice(self, key: str, default: str, known: tuple[str, ...]) -> str:
        """One of a few words."""
        value = self.config[key] if key in self.config else self.default(key, default)
        if value not in known:
            raise self.fail(key, value, f"one of {', '.join(known)}")
        return str(value)

    def divides(self, small_key: str, small: int, large_key: str, large: int) -> None:
        """Demand that `large` is a multiple of `small`."""
        if large % small:
            raise BadConfigError(f"{self.name}: {large_key} {large} is not a multiple of {small_key} {small}; the heads do not divide")


def model_from_config(config: Mapping[str, Any], name: str, source: Source | None = None) -> Model:
    """The model that a configuration describes.

    Args:
        config: the parsed config.json.
        name: for the model and for messages.
        source: where the configuration comes from.

    Raises:
        BadConfigError: no model_type, or fields that are missing, out of range or contradict each other.
        NoOpTableError: a model_type, or a class in `architectures`, that no op table is of.
    """
    return _read(config, name, source)[0]


def defaults_taken(config: Mapping[str, Any], name: str) -> dict[str, object]:
    """Fields that the configuration does not have -> what the model type's own class in transformers takes for them.

    Fields of a part stand under its name and a dot; one may follow from another field, such as as many key-value heads as heads.

    Raises:
        BadConfigError, NoOpTableError: as `model_from_config`.
    """
    return _read(config, name, None)[1].taken


def _read(config: Mapping[str, Any], name: str, source: Source | None) -> tuple[Model, Fields]:
    from estimators.architectures import FAMILIES, builder

    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise BadConfigError(
            f"{name}: model_type is {str(model_type)[:40]!r}; expected the name of a family: python -m bench list families"
        )
    if model_type not in FAMILIES:
        near = near_misses(model_type[:40], FAMILIES)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
        raise NoOpTableError(f"{name}: model_type {model_type[:40]!r} has no op table{hint} List them with: python -m bench list families")
    fields = Fields(config, name)
    model = builder(model_type)(fields, name, source or Source(title=name))
    if not model.runs:
        _demand_language_head(fields)
    return model, fields


LANGUAGE_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""What stands in the name of a decoder's class with the head of a language model."""


def _demand_language_head(f: Fields) -> None:
    """Refuse a decoder that its checkpoint names as a class with another head, or with none: the op table is of the usual one.

    Raises:
        BadConfigError: `architectures` is no list of names.
        NoOpTableError: it begins with another class.
    """
    named = f.config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise f.fail("architectures", named, "a list of names of classes")
    if named and not any(part in named[0] for part in LANGUAGE_HEADS):
        raise NoOpTableError(f"{f.name}: architectures names {named[0][:60]!r}; the op table is of the class with a language model's head")
