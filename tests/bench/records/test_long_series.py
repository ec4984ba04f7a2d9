"""A record of very many steps: its series are looked at as a whole, and one wrong entry is still told by its place."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records import typed_json
from bench.records.typed_json import MeasuredSeconds, MisfitError


@pytest.mark.parametrize(
    ("hint", "values"),
    [
        (float, [1.5, 0.0, -2.0]),
        (int, [0, 7, -3]),
        (int | None, [None, 3, None]),
        (float | None, [None, None]),
        (MeasuredSeconds, [0.0, 2.5]),
        (float, []),
    ],
)
def test_a_series_of_plain_numbers_is_taken_as_it_is(hint: Any, values: list[Any]) -> None:
    assert typed_json._are_plain_numbers(hint, values)
    assert typed_json.build(tuple[hint, ...], values, "times") == tuple(values)


@pytest.mark.parametrize(
    ("hint", "wrong"),
    [
        (float, "1.5"),
        (float, None),
        (float, 1e41),
        (float, 1e-60),
        (float, True),
        (int, 1.5),
        (int, True),
        (int | None, 1.5),
        (int | None, False),
        (float | None, -1e41),
        (MeasuredSeconds, -1.0),
        (MeasuredSeconds, 1e10),
    ],
)
def test_a_wrong_entry_among_many_is_told_by_its_place(hint: Any, wrong: Any) -> None:
    good = 2 if hint in (int, int | None) else 2.0
    values = [good] * 1000 + [wrong] + [good] * 10
    with pytest.raises(MisfitError, match=r"^times\.1000: found "):
        typed_json.build(tuple[hint, ...], values, "times")
