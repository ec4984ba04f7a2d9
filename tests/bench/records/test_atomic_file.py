"""A file is written whole or not at all, whatever stops the write."""

import os
from pathlib import Path

import pytest

from bench.records import atomic_file


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
