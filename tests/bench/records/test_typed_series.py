"""Long series of a record are read at a look, and as strictly as one by one."""

from __future__ import annotations

import random
import time
import typing
from typing import Annotated, Any

import pytest

from bench.records import typed_json
from bench.records.typed_json import AtLeast, MeasuredSeconds, MisfitError, build

HINTS: tuple[Any, ...] = (
    *(tuple[float, ...], tuple[int, ...], tuple[int | None, ...], tuple[float | None, ...], tuple[MeasuredSeconds, ...]),
    *(tuple[Annotated[int, AtLeast(1)], ...], tuple[str, ...], tuple[bool, ...]),
)
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2**53, 2**70, 10**39, 10**41, 10**400, 0.0, -0.0, 1.5, -1.5, 1e-51, 5e-324, 1e39, 1e41, 1e308, 1e9, 1e9 + 1),
    *(None, True, False, "x", float("nan"), float("inf"), float("-inf")),
)


def outcome(hint: Any, values: list[Any]) -> object:
    """What is built, with the types; or the complaint."""
    try:
        return [(type(value), value) for value in build(hint, values, "at")]
    except MisfitError as error:
        return str(error)


def test_a_series_read_at_a_look_is_the_one_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, at_a_look = random.Random(11), typed_json._are_plain_numbers
    short = 0
    for _ in range(6000):
        hint, values = draw.choice(HINTS), draw.choices(draw.sample(VALUES, draw.randint(1, 3)), k=draw.randint(0, 4))
        fast = outcome(hint, values)
        short += at_a_look(typing.get_args(hint)[0], values)
        with monkeypatch.context() as slowly:
            slowly.setattr(typed_json, "_are_plain_numbers", lambda *_: False)
            assert fast == outcome(hint, values), (hint, values)
    assert 300 < short < 5000


@pytest.mark.parametrize(("hint", "value"), [(tuple[float, ...], 0.5), (tuple[int, ...], 4), (tuple[int | None, ...], 4)])
def test_a_million_values_are_read_in_a_second(hint: Any, value: float) -> None:
    began_s = time.process_time()
    assert len(typing.cast("tuple[Any, ...]", build(hint, [value] * 1_000_000))) == 1_000_000
    assert time.process_time() - began_s < 2
