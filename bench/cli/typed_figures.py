"""Figures of a run as people type them: the value in base units, and how many digits were given."""

from __future__ import annotations

from collections.abc import Callable

from estimators.diagnosis.observed import Quantity
from estimators.diagnosis.words import significant
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.parsing import parse_count, parse_duration, parse_float, parse_flop_rate

MAX_RATE = 10**15
MAX_UTILIZATION = 10**4
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@frozen
class Given:
    """A figure as it was typed: its value in base units, and its significant digits; 0 where they say nothing."""

    value: float
    digits: int


def rate(name: str) -> Callable[[str | float], Given]:
    """A reader of things per second, such as 3,700 or 3.7k; it raises BadValueError."""

    def read(given: str | float) -> Given:
        text = str(given).strip().replace(",", "")
        scale = {"k": 1e3, "m": 1e6}.get(text[-1:].casefold(), 1.0)
        number = text[:-1] if scale != 1 else text
        value = parse_float(number, name, minimum=0, maximum=MAX_RATE, exclusive_minimum=True) * scale
        return Given(value=value, digits=_digits(given))

    return read


def time(name: str) -> Callable[[str | float], Given]:
    """A reader of durations into seconds, which demands the unit; it raises BadValueError."""

    def read(given: str | float) -> Given:
        if isinstance(given, (int, float)) or given.strip().replace(".", "", 1).isdigit():
            raise BadValueError(f"{name} {str(given)[:40]!r} has no unit; expected such as 1.9s, 562ms, 13.5h or 4d")
        return Given(value=parse_duration(given, name), digits=_digits(given))

    return read


def utilization(given: str | float) -> Given:
    """A share of a peak as a fraction; above 1 is taken. Raises BadValueError."""
    return Given(value=parse_float(given, "mfu", minimum=0, maximum=MAX_UTILIZATION, exclusive_minimum=True), digits=_digits(given))


def flop_rate(given: str | float) -> Given:
    """TFLOP/s, or with a prefix of its own, as FLOP/s. Raises BadValueError."""
    return Given(value=parse_flop_rate(str(given), "tflops"), digits=_digits(given))


def flop_count(given: str | float) -> Given:
    """FLOP, such as 16.5G. Raises BadValueError."""
    return Given(value=float(parse_count(given, "flop-per-sample")), digits=0)


def like(quantity: Quantity, name: str) -> Callable[[str | float], Given]:
    """The reader of another figure of that quantity, in the same unit.

    >>> like("step_time_s", "against")("1.27s")
    Given(value=1.27, digits=3)
    """
    if quantity in ("step_time_s", "wall_time_s"):
        return time(name)
    if quantity == "mfu_fraction":
        return utilization
    return flop_rate if quantity == "flop_per_s" else rate(name)


def _digits(given: str | float) -> int:
    """Significant digits of the number that a word begins with."""
    number = str(given).strip().rstrip("%").rstrip(f"{LETTERS}/")
    return significant(number) if number.lstrip(".")[:1].isdigit() else 0
