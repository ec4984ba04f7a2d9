"""Quantities as people type them, read into base units: counts, shares, rates, lengths of time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from estimators.errors import BadValueError
from estimators.units import DAY_S, EXA, GIGA, HOUR_S, KILO, MEGA, MINUTE_S, PETA, TERA

_DECIMAL = {"": 1, "k": KILO, "m": MEGA, "b": GIGA, "g": GIGA, "t": TERA, "p": PETA, "e": EXA}
_BINARY = {"": 1, "k": 1024, "m": 1024**2}
_NUMBER = re.compile(r"\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)?(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)\s*")
"""A comma separates thousands and nothing else: ``1,5`` is refused rather than read as 15."""
_COUNTED = re.compile(r"(.*?)\s*(seqs?|sequences?|toks?|tokens?)\s*", re.IGNORECASE)
_TIME_S = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), MINUTE_S),
    **dict.fromkeys(("h", "hour", "hours"), HOUR_S),
    **dict.fromkeys(("d", "day", "days"), DAY_S),
    **dict.fromkeys(("w", "week", "weeks"), 7 * DAY_S),
    "ms": 1e-3,
    "us": 1e-6,
}

MAX_COUNT = 10**24
"""Larger token or parameter counts are refused: no corpus or machine comes within nine orders of magnitude."""
MAX_LENGTH = 10**9
"""Tokens in a row; no model comes within a hundredth of it."""

Counted = Literal["tokens", "sequences"]


def parse_count(given: str | float, name: str, *, minimum: int = 1, maximum: int = MAX_COUNT) -> int:
    """Read a count such as ``300B``, ``1.4T``, ``2k`` or ``4_000_000``, exact, never through a float; or check a number.

    Args:
        given: the count, as text with an optional decimal suffix k, M, B or G, T, P, E (powers of 1000).
        name: what is being read, for the message.
        minimum, maximum: the range allowed, inclusive.

    Raises:
        BadValueError: unreadable, not a whole number, or out of range.

    >>> parse_count("300B", "tokens")
    300000000000
    >>> parse_count("1.4T", "tokens")
    1400000000000
    >>> parse_count(1.4e12, "tokens")
    1400000000000
    """
    expected = f"expected a whole number from {minimum:,} to {maximum:.0e}, such as 300B, 1.4T or 2k"
    return _parsed(given, name, scales=_DECIMAL, minimum=minimum, maximum=maximum, expected=expected)


def _parsed(given: str | float, name: str, *, scales: Mapping[str, int], minimum: int, maximum: int, expected: str) -> int:
    """A whole number in range, of a text with a suffix of `scales`. Raises BadValueError."""
    shown = repr(str(given)[:40])
    try:
        value, rest = _count_in(given, scales) if isinstance(given, str) else (int(given), given - int(given))
    except ValueError:
        raise BadValueError(f"{name} {shown} is not a count; {expected}") from None
    except OverflowError:
        raise BadValueError(f"{name} {shown} is out of range; {expected}") from None
    if rest:
        raise BadValueError(f"{name} {shown} is not a whole number; {expected}")
    if not minimum <= value <= maximum:
        raise BadValueError(f"{name} {shown} is out of range; {expected}")
    return value


def _count_in(text: str, scales: Mapping[str, int]) -> tuple[int, int]:
    """The whole number that a text holds, and what is left over. Raises ValueError for no count, OverflowError for a huge exponent."""
    match = _NUMBER.fullmatch(text)
    if not match or not match[1].strip("+-") or match[2].casefold() not in scales or len(text) > 40:
        raise ValueError(text)
    exponent = re.search(r"[eE]([+-]?\d+)$", match[1])
    if exponent and abs(int(exponent[1])) > 40:
        raise OverflowError(text)
    return _whole(match[1].replace(",", "").replace("_", ""), scales[match[2].casefold()])


def parse_length(given: str | float, name: str, *, minimum: int = 1, maximum: int = MAX_LENGTH) -> int:
    """Read a number of tokens in a row such as ``4096``, ``4k`` or ``128K``, whose k and M are powers of 1024; or check a number.

    Lengths of contexts are written so: a model of 128k reads 131,072 tokens.

    Raises:
        BadValueError: unreadable, not a whole number, or out of range.

    >>> parse_length("4k", "seq-len"), parse_length("128K", "seq-len"), parse_length("4000", "seq-len")
    (4096, 131072, 4000)
    """
    expected = f"expected a whole number from {minimum:,} to {maximum:.0e}, such as 4096 or 4k"
    return _parsed(given, name, scales=_BINARY, minimum=minimum, maximum=maximum, expected=expected)


def parse_sized(given: str | float, name: str, *, bare: Counted, maximum: int = MAX_COUNT) -> tuple[int, Counted]:
    """Read a count that may say what it counts, such as ``4M``, ``512seq`` or ``4Mtokens``; or check a number.

    Args:
        bare: what a number counts that does not say.

    Returns:
        The count, and what is counted.

    Raises:
        BadValueError: as parse_count.

    >>> parse_sized("512seq", "global-batch", bare="tokens"), parse_sized("4M", "global-batch", bare="tokens")
    ((512, 'sequences'), (4000000, 'tokens'))
    """
    if isinstance(given, str) and (match := _COUNTED.fullmatch(given)):
        return parse_count(match[1], name, maximum=maximum), "sequences" if match[2][0] in "sS" else "tokens"
    return parse_count(given, name, maximum=maximum), bare


def _whole(number: str, scale: int) -> tuple[int, int]:
    """number · scale as a whole number and what is left over; exact, and without the 3 ms of the fractions module."""
    mantissa, _, exponent = number.casefold().partition("e")
    digits, _, decimals = mantissa.partition(".")
    power = int(exponent or 0) - len(decimals)
    up, down = 10 ** max(0, power), 10 ** max(0, -power)
    return divmod(int(digits + decimals) * scale * int(up), int(down))


def parse_float(given: str | float, name: str, *, minimum: float, maximum: float, exclusive_minimum: bool = False) -> float:
    """Read a finite number within a range, or check one; of text, a trailing ``%`` divides by 100. Raises BadValueError.

    >>> parse_float("45%", "utilization", minimum=0, maximum=1), parse_float(0.45, "utilization", minimum=0, maximum=1)
    (0.45, 0.45)
    """
    shown = repr(str(given)[:40])
    expected = f"expected a number {'above' if exclusive_minimum else 'from'} {minimum:g} to {maximum:g}"
    try:
        percent = isinstance(given, str) and given.strip().endswith("%")
        value = float(str(given).strip()[:-1]) / 100 if percent else float(given)
    except ValueError:
        raise BadValueError(f"{name} {shown} is not a number; {expected}") from None
    except OverflowError:
        raise BadValueError(f"{name} {shown} is out of range; {expected}") from None
    if not math.isfinite(value) or not minimum <= value <= maximum or (exclusive_minimum and value == minimum):
        raise BadValueError(f"{name} {shown} is out of range; {expected}")
    return value


def parse_flop_rate(text: str, name: str) -> float:
    """Read a rate of operations as tools print it, such as ``450`` or ``0.45P``; a bare number is TFLOP/s. Raises BadValueError.

    >>> parse_flop_rate("450", "tflops"), parse_flop_rate("1.2P", "tflops")
    (450000000000000.0, 1200000000000000.0)
    """
    match = _NUMBER.fullmatch(text)
    if not match or not match[1] or match[2].casefold() not in _DECIMAL:
        raise BadValueError(f"{name} {text[:40]!r} is not a rate; expected TFLOP/s, for example 450")
    scale = _DECIMAL[match[2].casefold()] if match[2] else TERA
    return parse_float(match[1].replace(",", ""), name, minimum=0, maximum=1e9, exclusive_minimum=True) * scale


def parse_byte_rate(text: str, name: str) -> float:
    """Read a bandwidth such as ``50GB/s``, or ``400Gb/s`` in bits, in bytes per second. Raises BadValueError.

    >>> parse_byte_rate("50GB/s", "network"), parse_byte_rate("400Gb/s", "network")
    (50000000000.0, 50000000000.0)
    """
    match = re.fullmatch(r"\s*(\d[\d.]*)\s*([kKMGT]?)(B|b|bit)/s\s*", text)
    expected = "expected a bandwidth from 1MB/s to 100TB/s, such as 50GB/s, or 400Gb/s in bits"
    if not match or len(text) > 40:
        raise BadValueError(f"{name} {text[:40]!r} is not a bandwidth; {expected}")
    try:
        value = float(match[1]) * _DECIMAL[match[2].casefold()] / (1 if match[3] == "B" else 8)
    except ValueError:
        raise BadValueError(f"{name} {text[:40]!r} is not a bandwidth; {expected}") from None
    if not MEGA <= value <= 100 * TERA:
        raise BadValueError(f"{name} {text[:40]!r} is out of range; {expected}")
    return value


def parse_carbon(given: str | float, name: str) -> float:
    """Read what electricity emits, in grams of CO2 per kilowatt-hour as grids publish it, as kilograms per joule.

    >>> parse_carbon("360", "carbon")
    1e-07
    """
    return parse_float(given, name, minimum=0, maximum=5000) / 1000 / (KILO * HOUR_S)


def parse_duration(given: str | float, name: str) -> float:
    """Read a length of time such as ``14d``, ``36h`` or ``90min`` as seconds; a bare number is days. Raises BadValueError.

    >>> parse_duration("14d", "deadline"), parse_duration(14, "deadline")
    (1209600.0, 1209600.0)
    """
    number, unit = given, ""
    if isinstance(given, str):
        match = _NUMBER.fullmatch(given)
        unit = match[2].casefold() if match else ""
        if not match or not match[1] or (unit and unit not in _TIME_S):
            raise BadValueError(f"{name} {given[:40]!r} is not a length of time; expected for example 14d, 36h or 90min")
        number = match[1].replace(",", "")
    return parse_float(number, name, minimum=0, maximum=1e9, exclusive_minimum=True) * _TIME_S.get(unit, DAY_S)
