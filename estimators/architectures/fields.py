"""Typed access to the fields of a configuration. Strict: a field that is there must make sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from estimators.errors import BadConfigError

Default = TypeVar("Default")

MAX_DIMENSION = 10**9
"""A config's integer may not be larger: the widest vocabulary in use has 262,208 rows."""


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

    def over(self, config: Mapping[str, Any]) -> Fields:
        """The same part's fields, looked up in another mapping."""
        other = Fields(config, self.name)
        other.taken, other._prefix = self.taken, self._prefix
        return other

    @property
    def prefix(self) -> str:
        """What stands before this part's fields in `taken`."""
        return self._prefix

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
        """The first of `keys` that is set, as an integer within minimum..MAX_DIMENSION. Raises BadConfigError."""
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

    def text(self, *keys: str, default: str) -> str:
        """The first of `keys` that is set, as a word."""
        key, value = self._get(keys)
        if value is None:
            return self.default(key, default)
        if not isinstance(value, str):
            raise self.fail(key, value, f"a word, such as {default}")
        return value

    def divides(self, small_key: str, small: int, large_key: str, large: int) -> None:
        """Demand that `large` is a multiple of `small`. Raises BadConfigError."""
        if large % small:
            raise BadConfigError(f"{self.name}: {large_key} {large} is not a multiple of {small_key} {small}; the heads do not divide")
