"""The only file that knows what a tera or a gibi is.

Inside the project every quantity is in its base unit (FLOP, bytes, seconds, tokens, watts, joules) and the
unit is the suffix of its name. Scaling happens here, on the way in (`parse_*`) and on the way out (`format_*`).
"""

from __future__ import annotations

import math
import re

from estimators.errors import BadValueError

KILO, MEGA, GIGA, TERA, PETA, EXA = (10**n for n in (3, 6, 9, 12, 15, 18))
KIBI, MEBI, GIBI, TEBI = (2**n for n in (10, 20, 30, 40))
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400

DTYPE_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
"""Bytes that one stored element takes. tf32 is a way of multiplying: its elements are stored as fp32."""

_DECIMAL = {"": 1, "k": KILO, "m": MEGA, "b": GIGA, "g": GIGA, "t": TERA, "p": PETA, "e": EXA}
_NUMBER = re.compile(r"\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)?(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)\s*")
"""A comma separates thousands and nothing else: ``1,5`` is refused rather than read as 15."""
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
    shown = repr(str(given)[:40])
    expected = f"expected a whole number from {minimum:,} to {maximum:.0e}, such as 300B, 1.4T or 2k"
    try:
        value, rest = _count_in(given) if isinstance(given, str) else (int(given), given - int(given))
    except ValueError:
        raise BadValueError(f"{name} {shown} is not a count; {expected}") from None
    except OverflowError:
        raise BadValueError(f"{name} {shown} is out of range; {expected}") from None
    if rest:
        raise BadValueError(f"{name} {shown} is not a whole number; {expected}")
    if not minimum <= value <= maximum:
        raise BadValueError(f"{name} {shown} is out of range; {expected}")
    return value


def _count_in(text: str) -> tuple[int, int]:
    """The whole number that a text holds, and what is left over. Raises ValueError for no count, OverflowError for a huge exponent."""
    match = _NUMBER.fullmatch(text)
    if not match or not match[1].strip("+-") or match[2].casefold() not in _DECIMAL or len(text) > 40:
        raise ValueError(text)
    exponent = re.search(r"[eE]([+-]?\d+)$", match[1])
    if exponent and abs(int(exponent[1])) > 40:
        raise OverflowError(text)
    return _whole(match[1].replace(",", "").replace("_", ""), _DECIMAL[match[2].casefold()])


def _whole(number: str, scale: int) -> tuple[int, int]:
    """number · scale as a whole number and what is left over; exact, and without the 3 ms of the fractions module."""
    mantissa, _, exponent = number.casefold().partition("e")
    digits, _, decimals = mantissa.partition(".")
    power = int(exponent or 0) - len(decimals)
    up, down = 10 ** max(0, power), 10 ** max(0, -power)
    return divmod(int(digits + decimals) * scale * int(up), int(down))


def parse_float(given: str | float, name: str, *, minimum: float, maximum: float, exclusive_minimum: bool = False) -> float:
    """Read a finite number within a range, or check one; of text, a trailing ``%`` divides by 100.

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
    """Read a rate of operations as tools print it, such as ``450`` or ``0.45P``; a bare number is TFLOP/s.

    >>> parse_flop_rate("450", "tflops"), parse_flop_rate("1.2P", "tflops")
    (450000000000000.0, 1200000000000000.0)
    """
    match = _NUMBER.fullmatch(text)
    if not match or not match[1] or match[2].casefold() not in _DECIMAL:
        raise BadValueError(f"{name} {text[:40]!r} is not a rate; expected TFLOP/s, for example 450")
    scale = _DECIMAL[match[2].casefold()] if match[2] else TERA
    return parse_float(match[1].replace(",", ""), name, minimum=0, maximum=1e9, exclusive_minimum=True) * scale


def parse_byte_rate(text: str, name: str) -> float:
    """Read a bandwidth such as ``50GB/s``, or ``400Gb/s`` in bits, in bytes per second.

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
    """Read a length of time such as ``14d``, ``36h`` or ``90min`` as seconds; a bare number is days.

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


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def _scaled(value: float, steps: tuple[tuple[float, str], ...], unit: str, digits: int) -> str:
    for scale, prefix in steps:
        if abs(_rounded(value / scale, digits)) >= 1:
            return f"{_significant(value / scale, digits)} {prefix}{unit}"
    return f"{_significant(value, digits)} {unit}" if unit else _significant(value, digits)


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    value = _rounded(value, digits)  # first: 99.99 to three digits is 100, not 100.0
    whole = math.floor(math.log10(abs(value))) + 1
    if whole > 6 or whole < -3:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - whole)}f}"


_SI = ((EXA, "E"), (PETA, "P"), (TERA, "T"), (GIGA, "G"), (MEGA, "M"), (KILO, "k"))
_IEC = ((TEBI, "Ti"), (GIBI, "Gi"), (MEBI, "Mi"), (KIBI, "Ki"))


def format_flop(flop: float, digits: int = 4) -> str:
    """A number of operations. Above an exaFLOP powers of ten read better than prefixes.

    >>> format_flop(2_797_097_451_520)
    '2.797 TFLOP'
    >>> format_flop(3.142877e23)
    '3.143e+23 FLOP'
    """
    return f"{flop:.{digits - 1}e} FLOP" if abs(_rounded(flop, digits)) >= 1000 * EXA else _scaled(flop, _SI, "FLOP", digits)


def format_flop_rate(flop_per_s: float, digits: int = 3) -> str:
    """A rate of operations.

    >>> format_flop_rate(312e12)
    '312 TFLOP/s'
    """
    return _scaled(flop_per_s, _SI, "FLOP/s", digits)


def format_bytes(num_bytes: float, digits: int = 3) -> str:
    """An amount of memory, in powers of 1024.

    >>> format_bytes(80 * 2**30)
    '80.0 GiB'
    """
    return _scaled(num_bytes, _IEC, "B", digits)


def format_byte_rate(bytes_per_s: float, digits: int = 3) -> str:
    """A bandwidth, in powers of 1000 as datasheets give it.

    >>> format_byte_rate(2039e9)
    '2.04 TB/s'
    """
    return _scaled(bytes_per_s, _SI, "B/s", digits)


def format_count(count: float, digits: int = 3) -> str:
    """A count in the units people say: thousands, millions, billions, trillions.

    >>> format_count(2_779_683_840)
    '2.78 B'
    """
    steps = ((TERA, "T"), (GIGA, "B"), (MEGA, "M"), (KILO, "k"))
    return _scaled(count, steps, "", digits).rstrip() if abs(count) >= KILO else f"{count:g}"


def format_duration(seconds: float, digits: int = 3) -> str:
    """A length of time in the unit that people think in.

    >>> format_duration(34.0 * 86400), format_duration(0.0123)
    ('34.0 days', '12.3 ms')
    """
    steps = (
        (2 * DAY_S, DAY_S, "days"),
        (2 * HOUR_S, HOUR_S, "h"),
        (2 * MINUTE_S, MINUTE_S, "min"),
        (1, 1, "s"),
        (1e-3, 1e-3, "ms"),
        (0, 1e-6, "us"),
    )
    for least, unit_s, unit in steps:
        if abs(_rounded(seconds, digits)) >= least:
            return f"{_significant(seconds / unit_s, digits)} {unit}"
    raise AssertionError("the last step has no least value")


def format_money(dollars: float, digits: int = 3) -> str:
    """An amount of US dollars.

    >>> format_money(1_234_567)
    '$1.23 M'
    """
    return f"${_scaled(dollars, ((GIGA, 'B'), (MEGA, 'M'), (KILO, 'k')), '', digits).rstrip()}"


def format_energy(joules: float, digits: int = 3) -> str:
    """An amount of energy: joules for a step, kilowatt-hours and more for a run.

    >>> format_energy(3.6e9)
    '1.00 MWh'
    """
    if joules < 3.6e5:
        return _scaled(joules, _SI, "J", digits)
    return _scaled(joules / HOUR_S, _SI, "Wh", digits)


def format_mass(kilograms: float, digits: int = 3) -> str:
    """A mass, in tonnes from a thousand kilograms on.

    >>> format_mass(12.3), format_mass(45_600)
    ('12.3 kg', '45.6 t')
    """
    return f"{_significant(kilograms, digits)} kg" if _rounded(kilograms, digits) < 1000 else f"{_significant(kilograms / 1000, digits)} t"


def format_carbon(kg_per_j: float, digits: int = 3) -> str:
    """What electricity emits, as grids publish it.

    >>> format_carbon(1e-07)
    '360 g CO2 per kWh'
    """
    return f"{_significant(kg_per_j * 1000 * KILO * HOUR_S, digits)} g CO2 per kWh"


def format_fraction(fraction: float, digits: int = 3) -> str:
    """A share, as percent.

    >>> format_fraction(0.644)
    '64.4 %'
    """
    return f"{_significant(100 * fraction, digits)} %"


def format_ratio(ratio: float, digits: int = 4) -> str:
    """A ratio of two like quantities.

    >>> format_ratio(0.9732)
    '0.9732'
    """
    return f"{ratio:.{digits}f}" if 1e-4 <= abs(ratio) < 1e4 or ratio == 0 else f"{ratio:.{digits - 1}e}"


def format_int(count: int) -> str:
    """A whole number with separators.

    >>> format_int(2779683840)
    '2,779,683,840'
    """
    return f"{count:,}"
