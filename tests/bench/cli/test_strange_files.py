"""Files that are no ordinary file, and JSON that is no ordinary JSON, given to every verb that reads one: an answer or one line."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.record import read
from estimators import text_file
from estimators.errors import BadRecordError
from tests.support.tiny_models import record

CONFIG = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 8, "vocab_size": 16, "n_positions": 32}

READERS: dict[str, Callable[[str, str], list[str]]] = {
    "report": lambda path, _: ["report", path],
    "compare a": lambda path, sound: ["compare", path, sound],
    "compare b": lambda path, sound: ["compare", sound, path],
    "noise floor": lambda path, sound: ["compare", sound, sound, "--noise-floor", path],
    "show": lambda path, _: ["show", "--config", path],
    "estimate": lambda path, _: ["estimate", "--config", path],
    "plan": lambda path, _: ["plan", "--config", path, "--hardware", "a100-sxm4-80gb", "--gpus", "8"],
    "run": lambda path, _: ["run", "--config", path],
    "launcher": lambda path, _: ["plan", "--model", "gpt2", "--hardware", "a100-sxm4-80gb", "--gpus", "8", "--from", path],
    "rows": lambda path, _: ["validate", "--rows", path],
    "data": lambda path, _: ["run", "--model", "views-linreg", "--data", path],
    "calibration": lambda path, _: [*("estimate", "--model", "gpt2", "--hardware", "a100-sxm4-80gb", "--gpus", "8"), "--calibration", path],
}
"""Every way to name a file that is read, for a strange one and a sound record."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "WAIT_S", 0.1)


def sound(folder: Path) -> Path:
    path = folder / "sound.json"
    path.write_text(record("train").to_json(), encoding="utf-8")
    return path


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return str(folder / "pipe")


STRANGE: dict[str, Callable[[Path], str]] = {
    "a pipe without a writer": pipe,
    "a device without an end": lambda _: "/dev/zero",
    "a device without anything": lambda _: "/dev/null",
    "a terminal": lambda _: "/dev/tty",
    "a name with a null byte": lambda folder: f"{folder}/a\0b",
    "a name that is too long": lambda folder: f"{folder}/{'x' * 5000}",
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_one_line_within_seconds(reader: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began_s = time.monotonic()
    assert main(READERS[reader](STRANGE[kind](tmp_path), str(sound(tmp_path)))) == 2
    assert time.monotonic() - began_s < 20
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


def test_a_record_comes_through_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(pipe(tmp_path))
    threading.Thread(target=path.write_text, args=(record("train").to_json(),), daemon=True).start()
    assert main(["report", str(path)]) in (0, 1)
    assert capsys.readouterr().out


def test_a_folder_of_records_names_its_pipes_and_shows_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    assert main(["report", str(tmp_path)]) in (0, 1)
    printed = capsys.readouterr()
    assert "pipe.json' is a pipe and no record; move it out of the folder" in printed.err
    assert printed.out


@pytest.mark.parametrize("reader", ["report", "compare a", "compare b"])
def test_a_record_with_a_byte_order_mark_is_read(reader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "marked.json"
    path.write_text("\ufeff" + record("train").to_json(), encoding="utf-8")
    assert read(path) == record("train")
    assert main(READERS[reader](str(path), str(sound(tmp_path)))) in (0, 1)
    assert capsys.readouterr().err == ""


def test_a_configuration_with_a_byte_order_mark_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("\ufeff" + json.dumps(CONFIG), encoding="utf-8")
    assert main(["show", "--config", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def changed(path: Path, change: Callable[[str], str]) -> str:
    path.write_text(change(record("train").to_json()), encoding="utf-8")
    return str(path)


def with_samples(*samples: Any) -> Callable[[str], str]:
    def change(text: str) -> str:
        body = json.loads(text)
        body["phases"][0]["samples_s"] = list(samples)
        return json.dumps(body)

    return change


TEXTS: dict[str, tuple[Callable[[str], str], str]] = {
    "a time of 400 digits": (with_samples(10**400), "damaged at phases.0.samples_s.0: found a number of another size"),
    "a time of 5000 digits": (
        lambda text: text.replace('"samples_s": [', '"samples_s": [1' + "0" * 5000 + ","),
        "is not JSON or was cut off",
    ),
    "a time of 1e308": (with_samples(1e308), "found a number of another size"),
    "a time of 1e20": (
        with_samples(1.0, 1e20),
        "phases.0.samples_s.1: found 1e+20, expected a number of at least 0 of at most 1e+09",
    ),
    "a negative time": (with_samples(1.0, -0.5), "damaged at phases.0.samples_s.1: found -0.5, expected a number of at least 0"),
    "the smallest float": (with_samples(5e-324), "found a number of another size"),
    "a time that is infinite": (lambda text: text.replace('"samples_s": [', '"samples_s": [Infinity, '), "is not JSON or was cut off"),
    "a time that is a text": (with_samples("1.0"), 'found "1.0", expected a number'),
    "a time that is true": (with_samples(True), "found true, expected a number"),
    "a name twice": (lambda text: text.replace("{", '{"run_id": "other", ', 1), "damaged at run_id: it is there twice in one object"),
    "a name twice inside": (lambda text: text.replace('"phases": [\n  {', '"phases": [\n  {"name": "x",', 1), "name: it is there twice"),
    "100,000 levels": (lambda text: text.replace("{", '{"deep": ' + "[" * 100_000 + "]" * 100_000 + ", ", 1), "is not JSON or was cut off"),
    "an object alone of 100,000 levels": (lambda _: '{"a":' * 100_000, "is not JSON or was cut off"),
    "nothing": (lambda _: "", "is not JSON or was cut off"),
    "a mark alone": (lambda _: "\ufeff", "is not JSON or was cut off"),
    "two marks": (lambda text: "\ufeff\ufeff" + text, "is not JSON or was cut off"),
    "a number": (lambda _: "1", "is not a record of this tool"),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("reader", ["report", "compare a", "compare b"])
def test_a_record_that_no_clock_and_no_writer_gives_is_one_line(
    reader: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = TEXTS[kind]
    assert main(READERS[reader](changed(tmp_path / "odd.json", change), str(sound(tmp_path)))) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert said in printed.err


def test_a_time_of_a_coarse_clock_is_read(tmp_path: Path) -> None:
    assert read(Path(changed(tmp_path / "a.json", with_samples(0, 0.0, 1, 1e9)))).phases[0].samples_s == (0, 0.0, 1, 1e9)


def test_a_series_of_a_million_times_is_read_in_seconds_and_its_one_odd_time_is_named(tmp_path: Path) -> None:
    body = json.loads(record("train").to_json())
    body["phases"][0]["samples_s"] = ["HERE"]
    for last, right in (("0.002", True), ("-0.002", False)):
        (tmp_path / "a.json").write_text(json.dumps(body).replace('"HERE"', "0.001, " * 999_999 + last))
        began_s = time.process_time()
        if right:
            assert len(read(tmp_path / "a.json").phases[0].samples_s) == 1_000_000
            assert time.process_time() - began_s < 3
        else:
            with pytest.raises(BadRecordError, match=r"samples_s\.999999: found -0\.002"):
                read(tmp_path / "a.json")
