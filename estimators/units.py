"""The only file that knows what a tera or a gibi is.

Inside the project every quantity is in its base unit (FLOP, bytes, seconds, tokens, watts, joules) and the
unit is the suffix of its name. Scaling happens on the way in (`estimators.parsing`) and on the way out (`format_*` here).
"""

from __future__ import annotations

import math

KILO, MEGA, GIGA, TERA, PETA, EXA = (10**n for n in (3, 6, 9, 12, 15, 18))
KIBI, MEBI, GIBI, TEBI = (2**n for n in (10, 20, 30, 40))
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400

DTYPE_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1} | {
    "mxfp8": 1 + 1 / 32,
    "mxfp4": 1 / 2 + 1 / 32,
    "nvfp4": 1 / 2 + 1 / 16,
}
"""Bytes that one stored element takes. tf32 is a way of multiplying: its elements are stored as fp32.

The last three share a scale of one byte between 32 elements, nvfp4 between 16; its one fp32 scale per tensor is left out.

Source: OCP Microscaling Formats (MX) specification 1.0, table 1; NVIDIA 2025, Pretraining Large Language Models with NVFP4
(arXiv 2509.25149), section 2.
"""

SCALED_BLOCK = 32
"""Elements that take whole bytes in every format."""


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


def format_watt_hours(joules: float, digits: int = 3) -> str:
    """An amount of energy, however small, as meters and bills have it.

    >>> format_watt_hours(3.6e6), format_watt_hours(36.0)
    ('1.00 kWh', '10.0 mWh')
    """
    watt_hours = joules / HOUR_S
    return f"{_significant(1000 * watt_hours, digits)} mWh" if abs(watt_hours) < 1 else _scaled(watt_hours, _SI, "Wh", digits)


def format_mass(kilograms: float, digits: int = 3) -> str:
    """A mass, in tonnes from a thousand kilograms on.

    >>> format_mass(12.3), format_mass(45_600)
    ('12.3 kg', '45.6 t')
    """
    return f"{_significant(kilograms, digits)} kg" if _rounded(kilograms, digits) < 1000 else f"{_significant(kilograms / 1000, digits)} t"


def format_small_mass(kilograms: float, digits: int = 3) -> str:
    """A mass that may be small: in grams, from a kilogram on as format_mass says it.

    >>> format_small_mass(0.1234), format_small_mass(45.6), format_small_mass(2500)
    ('123 g', '45.6 kg', '2.50 t')
    """
    return f"{_significant(1000 * kilograms, digits)} g" if _rounded(1000 * kilograms, digits) < 1000 else format_mass(kilograms, digits)


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


def plural(number: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "token"), plural(1200, "token")
    ('1 token', '1,200 tokens')
    """
    return f"{format_int(number)} {noun}{'' if number == 1 else 's'}"


def format_grouped(value: float) -> str:
    """A number of days or hours as people read it.

    >>> format_grouped(26619.4), format_grouped(3.14159)
    ('26,619', '3.14')
    """
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.3g}"


def format_days(value: float) -> str:
    """Days in the unit that people think in.

    >>> format_days(26.0), format_days(0.125)
    ('26.0 days', '3.00 h')
    """
    return format_duration(value * DAY_S)


def format_rate(items_per_s: float) -> str:
    """Tokens or samples per second.

    >>> format_rate(297.183), format_rate(55_362)
    ('297', '55.4 k')
    """
    return format_count(items_per_s) if items_per_s >= 1000 else f"{items_per_s:.3g}"


def format_signed_fraction(fraction: float, decimals: int = 2) -> str:
    """A difference as a share.

    >>> format_signed_fraction(-0.0267), format_signed_fraction(0.00004), format_signed_fraction(-0.0267, 1)
    ('-2.67 %', '+0.004 %', '-2.7 %')
    """
    return f"{100 * fraction:+.{decimals}f} %" if abs(fraction) >= 5e-4 else f"{100 * fraction:+.2g} %"


def format_signed_points(fraction: float) -> str:
    """A difference of two shares.

    >>> format_signed_points(-0.0267), format_signed_points(0.0)
    ('-2.67 points', '0')
    """
    return f"{100 * fraction:+.2f} points" if fraction else "0"


def format_signed_flop(flop: float) -> str:
    """A difference in FLOP, with its sign.

    >>> format_signed_flop(1.5e12), format_signed_flop(-2e9)
    ('+1.500 TFLOP', '-2.000 GFLOP')
    """
    return f"{'+' if flop > 0 else ''}{format_flop(flop)}"


def format_signed_duration(seconds: float) -> str:
    """A difference of times, with its sign.

    >>> format_signed_duration(-0.25), format_signed_duration(1.5)
    ('-250 ms', '+1.50 s')
    """
    return f"{'-' if seconds < 0 else '+'}{format_duration(abs(seconds))}"
