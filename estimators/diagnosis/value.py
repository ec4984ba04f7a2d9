"""The one number of a diagnosis: what the figure should read, what bounds it, or what is expected, in a unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from estimators.diagnosis.answer import Diagnosis
from estimators.diagnosis.observed import TIMES, UNITS

Value = tuple[float | None, str]


def value_of(d: Diagnosis, unit: str = "") -> Value:
    """The number and its unit.

    Args:
        unit: as a table of cases names it, such as ``fraction (mfu)`` or ``tokens/s (bound)``; empty for what the verdict says most in.
    """
    wanted = unit.strip().casefold()
    for name, read in UNITS_ASKED.items():
        if wanted == name and (value := read(d)) is not None:
            return value, unit
    return _usual(d)


def _usual(d: Diagnosis) -> Value:
    """The bound of a generation, the corrected figure, the efficiency beside another run, the utilization of a time, what is expected."""
    main = d.question.main
    if main is None:
        return None, ""
    own = UNITS[main.quantity]
    if d.decode is not None and main.quantity == "decode_tokens_per_s":
        return d.decode.bound, "tokens/s (bound)"
    if d.judged.corrected is not None:
        if d.cause_ids[:1] == ("unit_label",) and main.quantity == "samples_per_s":
            return main.value, UNITS["tokens_per_s"]
        return d.judged.corrected, own
    if d.comparison is not None and d.expected is None:
        c = d.comparison
        grown = c.other.num_devices not in (None, d.question.num_devices)
        return (c.efficiency, "scaling efficiency") if grown and main.quantity in TIMES else (c.expected, own)
    if main.quantity in TIMES:
        return d.mfu, "of peak"
    if d.verdict == "SLOW" and (expected := _expected(d)) is not None:
        return expected, own
    if main.quantity == "flop_per_s" and main.scope == "job":
        return _of_device(d), "FLOP/s per device"
    return main.value, own


def _expected(d: Diagnosis) -> float | None:
    """What is expected of the main figure, in its unit and scope."""
    main = d.question.main
    if main is None or d.expected is None or d.items_per_s is None or main.quantity in TIMES:
        return None
    return main.value * d.expected.middle / d.items_per_s


def _stands(d: Diagnosis) -> float | None:
    """The figure as it should read: corrected where it is wrong."""
    main = d.question.main
    return None if main is None else d.judged.corrected if d.judged.corrected is not None else main.value


def _or_expected(d: Diagnosis) -> float | None:
    """The same; of a slow run what is expected."""
    if d.judged.corrected is None and d.comparison is not None and d.expected is None:
        return d.comparison.expected
    if d.judged.corrected is None and d.verdict == "SLOW":
        return _expected(d)
    return _stands(d)


def _tokens(d: Diagnosis) -> float | None:
    main = d.question.main
    if main is not None and main.quantity == "samples_per_s" and d.judged.corrected is not None:
        return d.judged.corrected * (d.question.item_tokens or 1)
    return _or_expected(d)


def _mfu(d: Diagnosis) -> float | None:
    main = d.question.main
    return _stands(d) if main is not None and main.quantity == "mfu_fraction" else d.mfu


def _flop_of_device(d: Diagnosis) -> float | None:
    if d.items_per_s is not None and d.counts is not None:
        return d.items_per_s * d.counts.usual
    return _of_device(d)


def _of_device(d: Diagnosis) -> float | None:
    main, number = d.question.main, d.question.num_devices
    if main is None or main.quantity != "flop_per_s":
        return None
    return main.value / (number or 1) if main.scope == "job" else main.value


def _tera(read: Callable[[Diagnosis], float | None]) -> Callable[[Diagnosis], float | None]:
    def tera(d: Diagnosis) -> float | None:
        value = read(d)
        return None if value is None else value / 1e12

    return tera


UNITS_ASKED: Mapping[str, Callable[[Diagnosis], float | None]] = {
    "fraction (mfu)": _mfu,
    "fraction": _mfu,
    "mfu": _mfu,
    "tokens/s (bound)": lambda d: d.decode.bound if d.decode else None,
    "fraction of bandwidth": lambda d: d.decoded / d.decode.bound if d.decode and d.decoded is not None else None,
    "scaling efficiency": lambda d: d.comparison.efficiency if d.comparison else None,
    "tokens/s": _tokens,
    "samples/s": _or_expected,
    "images/s": _or_expected,
    "requests/s": _or_expected,
    "flop/s": _or_expected,
    "ratio": _or_expected,
    "tokens": _stands,
    "samples": _stands,
    "s": _stands,
    "flop/s per gpu": _flop_of_device,
    "tflop/s/gpu": _tera(_flop_of_device),
}
"""Units in which a value can be asked for, in lower case, and the figure of a diagnosis that has each."""
