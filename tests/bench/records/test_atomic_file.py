"""A file is written whole or not at all, whatever stops the write."""

import os
import threading
import time
from pathlib import Path

import pytest

from bench.records import atomic_file
from estimators.errors import UnavailableError


def test_an_interrupt_in_the_middle_leaves_the_earlier_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "record.json"
    path.write_text("earlier")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_file.write(path, "later", mend="try again")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


def test_what_is_no_text_of_unicode_is_written_as_json_writes_it(tmp_path: Path) -> None:
    atomic_file.write(tmp_path / "record.json", '"a\udcffb"', mend="try again")
    assert (tmp_path / "record.json").read_bytes() == b'"a\\udcffb"'


@pytest.mark.parametrize("named", ["", "missing/record.json", "file/record.json"], ids=["a folder", "a folder that is not there", "a file"])
def test_what_cannot_be_written_is_known_before(named: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"cannot write the record .*; try again"):
        atomic_file.expect_writable(tmp_path / named, what="the record", mend="try again")
    with pytest.raises(UnavailableError, match=r"cannot write the record .*; try again"):
        atomic_file.write(tmp_path / named, "text", what="the record", mend="try again")


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("earlier")
    for name in ("record.json", "other.json"):
        atomic_file.expect_writable(tmp_path / name, mend="try again")
    atomic_file.expect_writable("/dev/stdout", mend="try again")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("record.json", "earlier")]


def test_a_pipe_that_nobody_reads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_file, "READER_WAIT_S", 0.2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnavailableError, match=r"cannot write .*pipe': it is a pipe that nobody has read for 0\.2 s; try again"):
        atomic_file.write(tmp_path / "pipe", "text", mend="try again")


def test_a_pipe_is_written_whole_to_a_reader_that_comes_late_and_is_slow(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    text, read = "x" * 300_000, []  # more than a pipe holds

    def slowly() -> None:
        time.sleep(0.2)
        with open(tmp_path / "pipe") as pipe:
            time.sleep(0.2)
            read.append(pipe.read())

    reader = threading.Thread(target=slowly)
    reader.start()
    atomic_file.write(tmp_path / "pipe", text, mend="try again")
    reader.join()
    assert read == [text]


def test_a_new_file_has_the_permissions_that_open_gives(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    atomic_file.write(tmp_path / "one", "text", mend="try again")
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "other").stat().st_mode
