"""What a terminal, a pipe and a file get: the width asked for, colours where they are seen, the format that the file's name says."""

import io
import json
import os
import pty
import sys
import threading
from pathlib import Path

import pytest

from bench.cli import appearance, sign_of_life
from bench.cli.main import main
from bench.cli.output import SUFFIXES, Output
from reports.render import RENDERERS
from reports.screen import Screen
from reports.table import Column, Table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table() -> Table:
    return Table(title="All of it", columns=[Column(key="days", header="days")], rows=[{"days": 4.76}], notes=["a note"])


SCREEN = Screen(answer="4.76 days", doubts=["Doubt it."], notes=["an assumption"])


@pytest.mark.parametrize(
    ("columns", "width"),
    [("60", 60), ("80", 80), ("140", 140), ("20", 60), ("500", 140), ("", 120), ("0", 120), ("-5", 120), ("wide", 120)],
)
def test_columns_of_a_pipe_are_those_asked_for_within_limits(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert appearance.num_columns(io.StringIO()) == appearance.num_columns(None) == width


def test_columns_of_a_terminal_are_its_own_unless_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((97, 24)))
    with os.fdopen(writer, "w") as stream:
        assert appearance.num_columns(stream) == 97
        monkeypatch.setenv("COLUMNS", "70")
        assert appearance.num_columns(stream) == 70
    os.close(reader)


@pytest.mark.parametrize(
    ("environment", "stream", "coloured"),
    [
        ({"TERM": "xterm"}, Terminal(), True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({"TERM": ""}, Terminal(), False),
        ({"TERM": "xterm"}, io.StringIO(), False),
        ({"TERM": "xterm"}, None, False),
    ],
)
def test_colours_are_for_a_terminal_that_has_them(
    environment: dict[str, str], stream: io.StringIO | None, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert appearance.has_colours(stream) == coloured


def test_the_answer_is_bold_and_a_doubt_red_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    told, piped = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", told)
    Output().emit([table()], SCREEN)
    monkeypatch.setattr(sys, "stdout", piped)
    Output().emit([table()], SCREEN)
    assert told.getvalue() == ("\x1b[1m4.76 days\x1b[0m\n\n\x1b[31mDoubt it.\x1b[0m\nan assumption\nmore: -v (everything), --format json\n")
    assert "\x1b" not in piped.getvalue()


def test_quiet_is_the_answer_alone_and_verbose_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    Output(quiet=True).emit([table()], SCREEN)
    assert capsys.readouterr().out == "4.76 days\n"
    Output(quiet=True).emit([table()])
    assert capsys.readouterr().out == "All of it\n"
    Output(verbose=True).emit([table()], SCREEN)
    assert capsys.readouterr().out == "All of it\n\ndays\n----\n4.76\n\na note\n"


@pytest.mark.parametrize("style", [style for style in RENDERERS if style != "text"])
def test_every_other_format_holds_all_of_it(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, verbose in ((False, False), (True, False), (False, True)):
        Output(style, quiet=quiet, verbose=verbose).emit([table()], SCREEN)
        assert "4.76" in (out := capsys.readouterr().out)
        assert (SCREEN.answer in out) == (style == "html")  # a page is headed by the answer


@pytest.mark.parametrize(("suffix", "style"), SUFFIXES.items())
def test_the_name_of_the_file_says_the_format(suffix: str, style: str, tmp_path: Path) -> None:
    for name, given, written in ((f"a{suffix}", None, style), (f"b{suffix.upper()}", None, style), (f"c{suffix}", "json", "json")):
        file = tmp_path / name
        Output(given, str(file)).emit([table()], SCREEN)
        Output(written, str(expected := tmp_path / "expected")).emit([table()], SCREEN)
        assert file.read_text() == expected.read_text()


def test_from_the_command_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "formats", "--output", str(tmp_path / "formats.json")]) == 0
    assert json.loads((tmp_path / "formats.json").read_text())["rows"]
    assert main(["list", "formats", "-q"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert main(["list", "formats", "-q", "-v"]) == 2
    assert "-v/--verbose: not allowed with argument -q/--quiet" in capsys.readouterr().err


def test_who_waits_at_a_terminal_hears_that_a_verb_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr(sign_of_life, "BLINK_S", 0.0)
    with sign_of_life.shown("plan"):
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(5)
    assert stream.getvalue() == "· plan: at work\n"


def test_a_verb_that_loads_torch_says_so_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with sign_of_life.shown("calibrate"):
        assert stream.getvalue() == "· calibrate: loading torch\n"


def test_an_answer_within_a_blink_and_a_pipe_get_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sign_of_life, "BLINK_S", 60.0 if stream.isatty() else 0.0)
        before = threading.active_count()
        with sign_of_life.shown("plan" if stream.isatty() else "run"):
            pass
        assert stream.getvalue() == ""
        assert threading.active_count() <= before + 1
