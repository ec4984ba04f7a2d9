"""`report`: tables from records alone; what cannot be read is named and left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.draft import Draft


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draft = Draft(model="linreg-1d", task="train", request=Asked(model="linreg-1d", task="train"), out=tmp_path)
    draft.save("partial", "stopped by the test")
    return tmp_path


def test_a_record_becomes_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(folder), "-v"])
    assert "linreg-1d" in capsys.readouterr().out


def test_a_broken_record_is_named_on_stderr_and_does_not_hide_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = main(["report", str(folder), "--format", "csv"])
    expected = capsys.readouterr().out
    (folder / "cut.json").write_text('{"run_id": "x", "sta')
    assert main(["report", str(folder), "--format", "csv"]) == whole
    out, err = capsys.readouterr()
    assert out == expected
    assert err.startswith("warning: ")
    assert "cut.json" in err
    assert err.count("\n") == 1
