"""Scaling: what is read, what is refused, and that a printed quantity reads back as the value it stood for."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators import units
from estimators.errors import BadValueError
from estimators.parsing import parse_count, parse_duration, parse_float


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("300B", 300 * 10**9),
        ("300b", 300 * 10**9),
        ("300G", 300 * 10**9),
        ("1.4T", 1_400_000_000_000),
        ("2k", 2000),
        ("4_000_000", 4_000_000),
        ("2,779,683,840", 2_779_683_840),
        ("174,600M", 174_600_000_000),
        (" 7 B ", 7 * 10**9),
        (".5k", 500),
        ("3e11", 3 * 10**11),
        ("1E", 10**18),
        ("0.1k", 100),
        ("2.3k", 2300),  # 2.3 * 1000 is 2299.9999999999995 as a float
    ],
)
def test_a_count_is_read_exactly(text: str, count: int) -> None:
    assert parse_count(text, "tokens") == count


NO_COUNTS = ("", " ", "B", "+", "-", ".", "e9", "300X", "three", "1,5T", "1,50", "12,34,567", "1 000", "nan", "inf", "²", "0x10", "1" * 41)


@pytest.mark.parametrize("text", NO_COUNTS)
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(BadValueError, match=r"^tokens '.*' is not a count; expected a whole number from 1 to 1e\+24, such as 300B"):
        parse_count(text, "tokens")


@pytest.mark.parametrize("text", ["0", "-5", "1e30", "1e999999999", "1e-999999999", "9" * 40])
def test_a_count_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(BadValueError, match=r"^tokens '.*' is (out of range|not a whole number); expected a whole number from 1"):
        parse_count(text, "tokens")


@pytest.mark.parametrize("text", ["1.5", "0.0001k", "1e-3"])
def test_a_part_of_a_token_is_refused(text: str) -> None:
    with pytest.raises(BadValueError, match="is not a whole number"):
        parse_count(text, "tokens")


def test_a_message_repeats_only_the_beginning_of_what_was_given() -> None:
    with pytest.raises(BadValueError, match="not a count") as caught:
        parse_count("x" * 10**6, "tokens")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "value"), [("0.45", 0.45), ("45%", 0.45), ("45 %", 0.45), ("1e-2", 0.01), ("0", 0.0), ("100%", 1.0)])
def test_a_share_is_read_as_a_number_or_in_percent(text: str, value: float) -> None:
    assert parse_float(text, "utilization", minimum=0, maximum=1) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("half", "utilization 'half' is not a number; expected a number from 0 to 1"),
        ("", "utilization '' is not a number"),
        ("%", "utilization '%' is not a number"),
        ("nan", "utilization 'nan' is out of range; expected a number from 0 to 1"),
        ("inf", "utilization 'inf' is out of range"),
        ("-0.1", "utilization '-0.1' is out of range"),
        ("101%", "utilization '101%' is out of range"),
    ],
)
def test_what_is_no_share_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        parse_float(text, "utilization", minimum=0, maximum=1)


def test_an_exclusive_minimum_is_refused() -> None:
    with pytest.raises(BadValueError, match="utilization '0' is out of range; expected a number above 0 to 1"):
        parse_float("0", "utilization", minimum=0, maximum=1, exclusive_minimum=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("14d", 1_209_600),
        ("14", 1_209_600),
        ("36h", 129_600),
        ("90min", 5400),
        ("1.5 hours", 5400),
        ("2 weeks", 1_209_600),
        ("1,209 days", 104_457_600),
        ("45s", 45),
    ],
)
def test_a_length_of_time_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text, "deadline") == seconds


@pytest.mark.parametrize("text", ["", "d", "soon", "14 parsecs", "nan", "inf", "1,5d"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(BadValueError, match="is not a length of time; expected for example 14d, 36h or 90min"):
        parse_duration(text, "deadline")


@pytest.mark.parametrize("text", ["0", "0d", "-1d", "1e400d"])
def test_a_length_of_time_must_be_above_zero_and_finite(text: str) -> None:
    with pytest.raises(BadValueError, match="is out of range"):
        parse_duration(text, "deadline")


@given(st.integers(1, 10**24))
def test_a_count_in_full_reads_back_exactly(count: int) -> None:
    assert parse_count(units.format_int(count), "count") == count
    assert parse_count(str(count), "count") == count


@given(st.integers(1, 10**24), st.integers(2, 9))
def test_a_count_in_words_reads_back_to_its_digits(count: int, digits: int) -> None:
    printed = units.format_count(count, digits)
    assert abs(parse_count(printed, "count") - count) <= half_a_digit(count, digits)


@given(st.floats(1e-6, 1e9), st.integers(3, 9))
def test_a_length_of_time_reads_back_to_its_digits(seconds: float, digits: int) -> None:
    assert abs(parse_duration(units.format_duration(seconds, digits), "time") - seconds) <= half_a_digit(seconds, digits)


@given(st.floats(0.001, 1.0), st.integers(2, 9))
def test_a_share_reads_back_to_its_digits(fraction: float, digits: int) -> None:
    read = parse_float(units.format_fraction(fraction, digits), "share", minimum=0, maximum=1.01)
    assert abs(read - fraction) <= half_a_digit(fraction, digits)


def half_a_digit(value: float, digits: int) -> Fraction:
    """The most that rounding to `digits` significant digits may change, plus what a float's own rounding may add."""
    return Fraction(value) / (2 * 10 ** (digits - 1)) + Fraction(value) / 10**14


SI_PREFIX = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
IEC_PREFIX = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@given(st.floats(1.0, 9e20))
def test_a_rate_printed_with_a_prefix_stands_for_its_value(flop_per_s: float) -> None:
    number, unit = units.format_flop_rate(flop_per_s, 4).split()
    read = Fraction(number.replace(",", "")) * SI_PREFIX[unit.removesuffix("FLOP/s")]
    assert abs(read - Fraction(flop_per_s)) <= half_a_digit(flop_per_s, 4)


@given(st.integers(1, 2**50))
def test_bytes_printed_with_a_prefix_stand_for_their_value(num_bytes: int) -> None:
    number, unit = units.format_bytes(num_bytes, 5).split()
    read = Fraction(number.replace(",", "")) * IEC_PREFIX[unit.removesuffix("B")]
    assert abs(read - num_bytes) <= Fraction(num_bytes, 10**4)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (units.format_count(999_999_999), "1.00 B"),
        (units.format_bytes(2**30 - 1), "1.00 GiB"),
        (units.format_duration(0.99999), "1.00 s"),
        (units.format_fraction(0.99999), "100 %"),
        (units.format_money(999_999), "$1.00 M"),
        (units.format_flop(999.99999e18), "1.000e+21 FLOP"),
    ],
)
def test_rounding_up_moves_to_the_next_unit(printed: str, expected: str) -> None:
    assert printed == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (units.format_bytes(80 * 2**30), "80.0 GiB"),
        (units.format_bytes(0), "0 B"),
        (units.format_byte_rate(3.35e12), "3.35 TB/s"),
        (units.format_flop_rate(989.4e12), "989 TFLOP/s"),
        (units.format_flop(3.142877e23), "3.143e+23 FLOP"),
        (units.format_energy(3.6e6), "1.00 kWh"),
        (units.format_energy(250), "250 J"),
        (units.format_money(4.5e6), "$4.50 M"),
        (units.format_duration(34 * 86400), "34.0 days"),
        (units.format_duration(36 * 3600), "36.0 h"),
        (units.format_duration(90), "90.0 s"),
        (units.format_ratio(0.97324), "0.9732"),
        (units.format_ratio(3e-7), "3.000e-07"),
        (units.format_int(2_779_683_840), "2,779,683,840"),
    ],
)
def test_people_read_quantities_in_their_own_units(printed: str, expected: str) -> None:
    assert printed == expected


def test_decimal_and_binary_prefixes_are_not_the_same() -> None:
    assert units.GIBI - units.GIGA == 73_741_824
    assert (units.KILO, units.MEGA, units.GIGA, units.TERA) == (10**3, 10**6, 10**9, 10**12)
    assert (units.KIBI, units.MEBI, units.GIBI, units.TEBI) == (2**10, 2**20, 2**30, 2**40)
