"""How views print what estimators.units has no word for: grouped figures, rates of items, signed differences."""

from __future__ import annotations

from estimators.units import DAY_S, format_count, format_duration, format_flop


def grouped(value: float) -> str:
    """A number of days or hours as people read it.

    >>> grouped(26619.4), grouped(3.14159)
    ('26,619', '3.14')
    """
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.3g}"


def days(value: float) -> str:
    """Days in the unit that people think in.

    >>> days(26.0), days(0.125)
    ('26.0 days', '3.00 h')
    """
    return format_duration(value * DAY_S)


def rate(items_per_s: float) -> str:
    """Tokens or samples per second.

    >>> rate(297.183), rate(55_362)
    ('297', '55.4 k')
    """
    return format_count(items_per_s) if items_per_s >= 1000 else f"{items_per_s:.3g}"


def signed_percent(fraction: float) -> str:
    """A difference as a share.

    >>> signed_percent(-0.0267), signed_percent(0.00004)
    ('-2.67 %', '+0.004 %')
    """
    return f"{100 * fraction:+.2f} %" if abs(fraction) >= 5e-4 else f"{100 * fraction:+.2g} %"


def signed_points(fraction: float) -> str:
    """A difference of two shares.

    >>> signed_points(-0.0267), signed_points(0.0)
    ('-2.67 points', '0')
    """
    return f"{100 * fraction:+.2f} points" if fraction else "0"


def signed_flop(flop: float) -> str:
    """A difference in FLOP, with its sign.

    >>> signed_flop(1.5e12), signed_flop(-2e9)
    ('+1.500 TFLOP', '-2.000 GFLOP')
    """
    return f"{'+' if flop > 0 else ''}{format_flop(flop)}"
