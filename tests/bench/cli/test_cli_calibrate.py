"""`calibrate` on the command line: what would lose its minutes is told before they are spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.calibration import calibrate
from bench.cli.main import main


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration that was begun fails the test."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("a calibration was begun")

    monkeypatch.setattr(calibrate, "calibrate", begun)


@pytest.mark.parametrize("words", [["--out"], ["--out", "c.json", "--output"]], ids=["the calibration", "the table"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    words: list[str], tmp_path: Path, never: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "--device", "cpu", *words, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: cannot write ")
    assert line.endswith(f"; name a file {'in a writable folder with --output' if '--output' in words else 'with --out'}")
    assert list(tmp_path.iterdir()) == []


def test_the_same_words_with_a_file_begin(tmp_path: Path, never: None) -> None:
    with pytest.raises(AssertionError, match="begun"):
        main(["calibrate", "--device", "cpu", "--out", str(tmp_path / "c.json")])
