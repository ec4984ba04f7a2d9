"""Configuration files that are hostile, broken or changed at random: an answer or one line, and nothing of theirs runs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from estimators.errors import RequestError
from estimators.tuning.readers.job_files import combined
from tests.support.tuning_files import (
    FILES,
    HOSTILE,
    HOSTILE_JSON,
    Reader,
    refused,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_yaml_is_one_line(name: str, read: Reader) -> None:
    text, said = HOSTILE[name]
    if not said:
        assert [each.key for each in read(job__yml=text).unread] == ["sequence_len.a"]
        return
    assert said in refused(read, job__yml=text)


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_a_hostile_json_is_one_line(name: str, read: Reader) -> None:
    text, said = HOSTILE_JSON[name]
    assert said in refused(read, job__json=text)


def test_a_pickle_is_never_opened_and_the_line_says_how_to_write_json(tmp_path: Path) -> None:
    import pickle

    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    for name, content in (
        ("training_args.bin", pickle.dumps(Runs())),
        ("args.json", pickle.dumps(Runs())),
        ("model.pt", b"PK\x03\x04"),
        ("x.pt", b"{}"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(RequestError, match=rf"{name} is a pickle, a program that loading it runs.*to_json_string\(\)"):
            combined([str(path)])
    assert not (tmp_path / "ran").exists()


def test_a_file_of_100_mb_is_one_line_and_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    with open(path, "wb") as stream:
        stream.truncate(100 * 10**6)
    with pytest.raises(RequestError, match="more than 1,000,000 bytes; expected the configuration of one fine-tuning"):
        combined([str(path)])


def _flat_keys(value: Any, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    keys = [(*place, key) for key in value] if isinstance(value, dict) else []
    return keys + [deeper for key in keys for deeper in _flat_keys(value[key[-1]], key)]


def _without(value: Any, place: Sequence[str]) -> Any:
    head, *rest = place
    return {key: _without(item, rest) if rest and key == head else item for key, item in value.items() if rest or key != head}


@pytest.mark.parametrize("name", FILES)
def test_without_any_one_of_its_keys_a_file_is_still_read_or_refused_in_one_line(name: str, read: Reader) -> None:
    whole = yaml.safe_load(FILES[name])
    for place in _flat_keys(whole):
        answered(read, name, json.dumps(_without(whole, place)))


def answered(read: Reader, name: str, text: str) -> None:
    """Demand that a file is read, or refused in one line."""
    try:
        read(**{name.replace(".", "__"): text}).filled()
    except RequestError as error:
        line = str(error)
    else:
        return
    assert "\n" not in line, text
    assert len(line) < 480, text


PIECES = (
    "0",
    "-1",
    "1e9",
    "true",
    "null",
    "[]",
    "{}",
    '"',
    ":",
    "\n",
    "  ",
    "\t",
    "é",
    "999999999999",
    "auto",
    "&a",
    "*a",
    "- ",
    "!!",
    ".inf",
    "x" * 50,
)


@pytest.mark.parametrize("name", FILES)
def test_200_mutations_of_each_file_give_an_answer_or_one_line(name: str, read: Reader) -> None:
    draw = random.Random(name)
    for _ in range(200):
        text = FILES[name]
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(PIECES) + text[at + draw.choice((0, 0, 1, 3, 20)) :]
        answered(read, name, text)
