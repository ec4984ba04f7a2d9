"""What strangers wrote, made safe to show: nothing that acts is left, and nothing else is lost."""

import json
import unicodedata

import pytest

from estimators.errors import BadValueError
from estimators.printable import cut, num_columns, printable, printable_json, printable_lines
from tests.support.hostile_text import acting, drawn

TEXTS = list(drawn(400))


def test_nothing_that_acts_is_left_of_400_drawn_texts() -> None:
    for text in TEXTS:
        assert acting(text), ascii(text)
        assert acting(printable(text)) == [], ascii(text)
        assert acting(printable_lines(text), may="\n\t") == [], ascii(text)


def test_nothing_that_acts_is_left_of_any_character_of_unicode() -> None:
    everything = "".join(map(chr, [*range(0x3100), *range(0xD7F0, 0x10000, 7), *range(0xFE00, 0x10000), *range(0x10000, 0x110000, 251)]))
    everything += "".join(chr(c) for c in range(0x10000, 0x110000) if unicodedata.category(chr(c)) == "Cf")
    assert acting(printable(everything)) == []
    assert acting(printable_lines(everything), may="\n\t") == []
    assert acting(printable_json(everything), may="\n\t") == []


def test_letters_and_blanks_of_all_scripts_stay() -> None:
    letters = "".join(chr(c) for c in range(0x110000) if unicodedata.category(chr(c))[0] in "LMNPS" or unicodedata.category(chr(c)) == "Zs")
    assert len(letters) > 100_000
    assert printable(letters) == letters


def test_a_text_that_was_made_printable_stays_as_it_is() -> None:
    for text in TEXTS:
        once = printable(text)
        assert printable(once) == once


def test_json_keeps_every_value() -> None:
    for text in TEXTS:
        encoded = printable_json(json.dumps({text: [text, 1.5]}, indent=1, ensure_ascii=False))
        assert acting(encoded, may="\n") == [], ascii(text)
        assert json.loads(encoded) == {text: [text, 1.5]}


def test_an_error_that_quotes_a_stranger_is_printable() -> None:
    for text in TEXTS:
        assert acting(str(BadValueError(f"unknown {text}")), may="\n\t") == []


@pytest.mark.parametrize("columns", range(12))
def test_a_text_is_cut_to_columns_and_never_through_a_wide_character(columns: int) -> None:
    for text in (
        "decode: 3 of 5",
        "深深深深深深深",
        "e\u0301" * 12,
        "a深b深c深d深",
    ):
        short = cut(text, columns)
        assert num_columns(short) <= columns
        assert num_columns(short) >= columns - 1
        assert short == "" or text.startswith(short.removesuffix("…"))


def test_a_text_that_fits_is_not_cut() -> None:
    assert cut("深深", 4) == "深深"
    assert cut("", 0) == ""
