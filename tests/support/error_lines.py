"""What a wrong request is answered with."""

from __future__ import annotations

import pytest

from bench.cli.main import main


def complaint(argv: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line on stderr; notes, which begin with a dot, aside. Nothing is on stdout."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("· ")]
    assert out == ""
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    assert len(lines[0]) < 500
    return lines[0]
