"""Configurations of strangers: read as plain values, in bounded time, or refused in one line; nothing in them is run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from estimators.errors import BadValueError, UnavailableError
from estimators.strict_text import MAX_DEPTH, MAX_FILE_BYTES, NotPlainError, RepeatedNameError, json_value, read_config, table, yaml_value

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12))
"""Thirteen lines of aliases of aliases, which stand for 9 to the 13th texts."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", r"line 3: a is there twice in one table"),
        ("a: {b: 1, b: 1}\n", r"line 1: b is there twice"),
        ("a:\n- {b: 1}\n- {b: 1, c: 2, c: 3}\n", r"line 3: c is there twice"),
    ],
)
def test_a_name_that_is_there_twice_is_refused(text: str, said: str) -> None:
    with pytest.raises(RepeatedNameError, match=said):
        yaml_value(text)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [touch HERE]",
        "!!python/name:os.system ''",
        "!!binary aGk=",
        "!!set {a}",
        "!mine 1",
        "!!timestamp 2020-01-01",
    ],
)
def test_a_tag_that_makes_more_than_a_plain_value_is_refused_and_runs_nothing(tag: str, tmp_path: Path) -> None:
    with pytest.raises(NotPlainError, match=r"line 2: the tag !.* is not read; expected plain values"):
        yaml_value(f"a: 1\nb: {tag.replace('HERE', str(tmp_path / 'here'))}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\tb: 1\n", "line 2: a tab; YAML is indented by blanks"),
        ("a: 1\nb 2\nc: 3\n", r"line \d: expected KEY: VALUE"),
        ("a: [1, 2\nb: 3\n", r"line \d: "),
        ("a: 1\n---\nb: 2\n", r"line \d: "),
        ("a: \x01\n", "no YAML: "),
        ("? [a, b]\n: 1\n", "line 1: a name that is no text"),
        ("a: .nan\n", "nan is not a finite number"),
        ("a: .inf\n", "inf is not a finite number"),
        ("a: 1.0e+999\n", "inf is not a finite number"),
        ("a: 2020-13-45\n", "no YAML: "),
        ("a: " + "9" * 5000 + "\n", "no YAML: "),
        ("a: *b\n", "line 1: "),
        ("a: &b [*b]\n", r"line 1: the alias \*b stands for what it lies in"),
        (BOMB, r"line \d+: it stands for more than 100,000 values"),
        ("a: " + "[" * 5000 + "]" * 5000, "line 1: .*nest"),
        ("a:\n" + "".join(" " * i + "a:\n" for i in range(1, 70)), f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_no_plain_yaml_is_one_line(text: str, said: str) -> None:
    started = time.perf_counter()
    with pytest.raises(NotPlainError, match=said) as refused:
        yaml_value(text)
    assert "\n" not in str(refused.value)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "a: it is there twice in one object"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": 1e999}', "1e999 is not a finite number"),
        ('{"a": ', "line 1: no JSON: "),
        ('{"a": 1}\n{"b": 2}', "line 2: no JSON: Extra data"),
        ("[1]", "it holds a list; expected names with values"),
        ('{"a": ' + "[" * 100_000, "nested deeper than"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "nested deeper than"),
        ('{"a": ' + "9" * 5000 + "}", "integer string conversion"),
    ],
)
def test_what_is_no_plain_json_is_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        table(text, is_json=True)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "said"), [("", "it holds nothing"), ("- 1\n", "it holds a list"), ("hello\n", "it holds a single value")])
def test_what_is_no_table_says_what_it_is(text: str, said: str) -> None:
    with pytest.raises(NotPlainError, match=said):
        table(text, is_json=False)


def test_a_table_may_be_used_twice() -> None:
    text = "usual: &usual {a: 1, b: 2}\nmine:\n  <<: *usual\n  b: 3\nlist: [*usual, *usual]\n"
    assert table(text, is_json=False) == yaml.safe_load(text)


def test_names_and_dates_are_texts() -> None:
    assert table("1: a\n2.5: b\ntrue: c\nrun: 2024-01-31\n", is_json=False) == {"1": "a", "2.5": "b", "true": "c", "run": "2024-01-31"}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc:- #'\"é", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef_", min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef_", min_size=1, max_size=4), PLAIN, max_size=4))
def test_plain_values_are_read_as_they_were_written(value: dict[str, object]) -> None:
    assert json_value(json.dumps(value)) == value
    assert yaml_value(yaml.safe_dump(value)) == value


def test_a_file_of_100_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    with open(path, "wb") as stream:
        stream.truncate(100 * 10**6)
    started = time.perf_counter()
    with pytest.raises(BadValueError, match=f"more than {MAX_FILE_BYTES:,} bytes; expected a recipe"):
        read_config(str(path), "a recipe")
    assert time.perf_counter() - started < 0.5


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file"), (tmp_path / "bytes", "not a text file")):
        (tmp_path / "bytes").write_bytes(b"\x80\x02}q\x00")
        with pytest.raises(UnavailableError, match=f"cannot read .*: {why}"):
            read_config(str(path), "a recipe")
