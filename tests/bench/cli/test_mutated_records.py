"""No record and no configuration, whatever somebody did to it, ends in a traceback: an answer, or one line and exit code 2."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.records import typed_json
from tests.support.changed_records import A100
from tests.support.checkout import ROOT
from tests.support.tiny_models import SIZES, record

RECORDS = ROOT / "results"
CONFIGS = ROOT / "estimators" / "facts" / "data" / "models"

MAX_SAMPLES = 12
"""Of each series a record keeps so many, so that an example takes milliseconds."""

DELETED, NESTED = object(), object()
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 10**400, -(10**400), 10**30, 0.0, 0.5, -0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf")),
    *("", "x", "12", "深", "\ud800", "a\nb", "x" * 5000),
    *([], [None], [1], [[]], ["x"], [-1.0], {}, {"a": None}, {"full": None}, [{}], {"flop": "x"}),
    *(DELETED, DELETED, DELETED, DELETED, NESTED),
)
"""What a place is changed to: each type of JSON and each edge of it, its deletion, and a nesting of 300 levels."""

Damage = tuple[int, int, Any]
"""Depth and number of a place, counted round, and what it is changed to."""

damages: st.SearchStrategy[list[Damage]] = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 10_000), st.sampled_from(VALUES)), min_size=1, max_size=3
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value, of lists the first three."""
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:3] if isinstance(value, list) else ()
    for name, item in items:
        yield (*at, name)
        yield from places(item, (*at, name))


def changed(value: Any, wanted: list[Damage]) -> Any:
    """A copy with each damage done."""
    value = copy.deepcopy(value)
    for depth, number, damage in wanted:
        found = list(places(value))
        if not found:
            break
        levels = sorted({len(place) for place in found})
        same = [place for place in found if len(place) == levels[depth % len(levels)]]
        *above, name = same[number % len(same)]
        holder = value
        for step in above:
            holder = holder[step]
        if damage is DELETED:
            del holder[name]
        else:
            holder[name] = nested(300) if damage is NESTED else copy.deepcopy(damage)
    return value


def nested(levels: int) -> Any:
    inner: Any = 1
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


def shortened(body: dict[str, Any]) -> dict[str, Any]:
    for series in (*body["phases"], *body["ceilings"]):
        series["samples_s"] = series["samples_s"][:MAX_SAMPLES]
    return body


@functools.cache
def records() -> list[Any]:
    """Those of the repository, and one of each task with the bounds of a known device."""
    committed = [json.loads(path.read_text()) for path in sorted(RECORDS.rglob("*.json"))]
    by_hand = [json.loads(record(task, hardware=A100).to_json()) for task in SIZES]
    return [shortened(body) for body in (*committed, *by_hand)]


@functools.cache
def configs() -> list[Any]:
    return [json.loads(path.read_text())["config"] for path in sorted(CONFIGS.glob("*.json"))]


Words = Callable[[str, str], list[str]]
"""A verb's words for a changed file and a sound one."""

OF_RECORDS: dict[str, Words] = {
    "report": lambda path, _: ["report", path],
    "report of a folder": lambda path, _: ["report", str(Path(path).parent)],
    "report as json": lambda path, _: ["report", path, "--format", "json"],
    "waterfall": lambda path, _: ["report", path, "--waterfall"],
    "compare": lambda path, sound: ["compare", sound, path],
    "compare as json": lambda path, sound: ["compare", sound, path, "--format", "json"],
    "compare normalised": lambda path, sound: ["compare", path, sound, "--normalise", "ceiling"],
}
OF_CONFIGS: dict[str, Words] = {
    "show": lambda path, _: ["show", "--config", path],
    "estimate a step": lambda path, _: ["estimate", "--config", path],
    "estimate a training": lambda path, _: ["estimate", "--config", path, "--tokens", "1B", "--hardware", "a100-sxm4-80gb", "--gpus", "8"],
}


def judge(words: Words, body: Any, sound: Any, folder: Path) -> None:
    """Ask a verb about a file: it answers, or it says in one line what is wrong; whatever it raises comes through."""
    path, sound_path = folder / "changed" / "one.json", folder / "sound.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(body))
    sound_path.write_text(json.dumps(sound))
    complaints = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(complaints):
        code = main(words(str(path), str(sound_path)))
    errors = [line for line in complaints.getvalue().splitlines() if not line.startswith(("warning: ", "· "))]
    assert code in (0, 1, 2)
    if code == 2:
        assert len(errors) == 1, errors
        assert errors[0].startswith("error: ")


def examples(number: int, verbs: dict[str, Words]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    drawn = given(which=st.integers(0, 999), verb=st.sampled_from(sorted(verbs)), wanted=damages)
    limits = settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    return lambda test: limits(drawn(test))


def judge_record(which: int, verb: str, wanted: list[Damage], folder: Path) -> None:
    body = records()[which % len(records())]
    judge(OF_RECORDS[verb], changed(body, wanted), body, folder)


def judge_config(which: int, verb: str, wanted: list[Damage], folder: Path) -> None:
    body = configs()[which % len(configs())]
    judge(OF_CONFIGS[verb], changed(body, wanted), body, folder)


@examples(300, OF_RECORDS)
def test_a_changed_record_never_ends_in_a_traceback(which: int, verb: str, wanted: list[Damage], tmp_path: Path) -> None:
    judge_record(which, verb, wanted, tmp_path)


@examples(200, OF_CONFIGS)
def test_a_changed_configuration_never_ends_in_a_traceback(which: int, verb: str, wanted: list[Damage], tmp_path: Path) -> None:
    judge_config(which, verb, wanted, tmp_path)


@pytest.mark.slow
@examples(12_000, OF_RECORDS)
def test_twelve_thousand_changed_records_never_end_in_a_traceback(which: int, verb: str, wanted: list[Damage], tmp_path: Path) -> None:
    judge_record(which, verb, wanted, tmp_path)


@pytest.mark.slow
@examples(8_000, OF_CONFIGS)
def test_eight_thousand_changed_configurations_never_end_in_a_traceback(
    which: int, verb: str, wanted: list[Damage], tmp_path: Path
) -> None:
    judge_config(which, verb, wanted, tmp_path)


def test_the_judge_would_notice_a_reader_that_lets_huge_numbers_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = copy.deepcopy(records()[-1])
    body["phases"][0]["items_per_sample"] = 10**400
    judge(OF_RECORDS["report"], body, body, tmp_path)
    monkeypatch.setattr(typed_json, "_is_bounded", lambda _: True)
    with pytest.raises(OverflowError, match="too large"):
        judge(OF_RECORDS["report"], body, body, tmp_path)


@pytest.mark.parametrize("body", [{"a": [1, {"b": 2}]}])
def test_damage_reaches_every_depth_and_leaves_the_original(body: Any) -> None:
    assert list(places(body)) == [("a",), ("a", 0), ("a", 1), ("a", 1, "b")]
    assert [changed(body, [(depth, 0, DELETED)]) for depth in range(3)] == [{}, {"a": [{"b": 2}]}, {"a": [1, {}]}]
    assert body == {"a": [1, {"b": 2}]}
