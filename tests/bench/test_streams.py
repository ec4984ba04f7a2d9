"""Lines on a stderr that is missing, closed, full, narrow, or somebody else's object."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import streams
from bench.machine import ranks
from tests.support.checkout import ROOT
from tests.support.hostile_text import acting, drawn


class Tee:
    """A stream that somebody wrote: it is written to, and no more."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def test_a_stream_without_flush_takes_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = Tee()
    monkeypatch.setattr(sys, "stderr", tee)
    streams.say("step 5 · 3 ms")
    assert tee.text == "step 5 · 3 ms\n"


def test_a_strict_narrow_stream_has_what_it_lacks_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii", errors="strict"))
    streams.say("step 5 · 3 µs")
    assert raw.getvalue() == rb"step 5 \xb7 3 \xb5s" + b"\n"


@pytest.mark.parametrize("stream", [None, Full(), closed()], ids=["none", "full", "closed"])
def test_a_remark_that_cannot_be_written_is_left_out(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    streams.remark("x")
    ranks.say("x")


@pytest.mark.parametrize("stream", [Full(), closed()], ids=["full", "closed"])
def test_who_must_know_is_told_that_a_line_was_not_written(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises((OSError, ValueError), match=r"No space left|closed file"):
        streams.say("x")


def test_nothing_that_acts_reaches_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = Tee()
    monkeypatch.setattr(sys, "stderr", tee)
    for text in drawn(200):
        streams.say(text)
    assert acting(tee.text, may="\n") == []
    assert tee.text.count("\n") == len(list(drawn(200)))


HELD = """
import os, sys
from bench import streams
with streams.held():
    opened = os.open(os.devnull, os.O_RDONLY)
    os.write(1, b"lost"), os.write(2, b"lost")
    seen = (opened > 2, sys.stderr is not None, sys.stdout)
open(sys.argv[1], "w").write(repr((*seen, sys.stderr)))
"""


def test_no_file_takes_the_number_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    words = f"{sys.executable} -c '{HELD}' {answer} <&- >&- 2>&-"
    subprocess.run(["bash", "-c", words], cwd=ROOT, env=os.environ, check=True, timeout=60)
    assert answer.read_text() == "(True, True, None, None)"


def test_streams_that_are_there_stay_as_they_are() -> None:
    before = sys.stdout, sys.stderr
    with streams.held():
        assert (sys.stdout, sys.stderr) == before
    assert (sys.stdout, sys.stderr) == before


PROFILED = """
import os, torch
from bench.backend.device import choose
from bench.backend.operators.profiler import seconds_by_group
assert seconds_by_group(lambda: torch.ones(3) @ torch.ones(3), choose("cpu"))
assert "KINETO_LOG_LEVEL" not in os.environ
"""


def test_our_profiler_writes_no_line_of_its_own() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "KINETO_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", PROFILED], capture_output=True, text=True, cwd=ROOT, env=environ, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")
