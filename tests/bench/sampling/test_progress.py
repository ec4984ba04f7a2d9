"""The line that a person sees while samples are taken."""

import errno
import fcntl
import io
import itertools
import os
import pty
import struct
import sys
import termios

import pytest

from bench.records.learning import CurvePoint
from bench.sampling import live_line
from bench.sampling.live_line import line
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import sample
from bench.workloads.article.workload import Progress
from tests.support.scripted_clock import ScriptedClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can erase a line, and is wide."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(live_line, "USUAL_COLUMNS", 120)


def drawn(stream: io.StringIO) -> list[str]:
    return [line for line in stream.getvalue().split("\r\x1b[K") if line]


def test_where_nobody_watches_nothing_is_drawn() -> None:
    stream = io.StringIO()
    with sampling("decode", max_samples=3, stream=stream) as on_sample:
        assert on_sample is None
    assert stream.getvalue() == ""


def test_the_line_shows_the_warm_up_then_the_count_and_the_median_and_is_wiped() -> None:
    stream, clock = Terminal(), ScriptedClock([0.9, 0.25, 0.75, 0.5])
    with sampling("decode", max_samples=3, stream=stream, now=itertools.count().__next__) as on_sample:
        sample(clock.step, clock=clock, warmup_max=1, max_samples=3, target_fraction=None, on_sample=on_sample)
    assert drawn(stream) == [
        "decode: warming up, 1, 900 ms each",
        "decode: 1 of at most 3, 250 ms each, 500 ms left at most",
        "decode: 2 of at most 3, 500 ms each, 500 ms left at most",
        "decode: 3 of at most 3, 500 ms each",
    ]
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_line_has_the_interval_once_there_is_one_and_the_time_left_within_the_budget() -> None:
    # 7 samples of 0.5 s: 13 left take 6.5 s, but of 6 s of budget 3.5 s are gone
    stream, clock = Terminal(), ScriptedClock(itertools.repeat(0.5))
    with sampling("decode", max_samples=20, max_time_s=6.0, stream=stream, now=clock.now) as on_sample:
        sample(clock.step, clock=clock, warmup_max=0, max_samples=7, max_time_s=1e9, target_fraction=None, on_sample=on_sample)
    assert drawn(stream)[-1] == "decode: 7 of at most 20, 500 ms each (95 %: 500 ms to 500 ms), 2.50 s left at most"


def test_short_steps_do_not_redraw_the_line_each_time() -> None:
    stream, clock = Terminal(), ScriptedClock(itertools.repeat(0.01))
    with sampling("decode", max_samples=100, stream=stream, now=clock.now) as on_sample:
        sample(clock.step, clock=clock, warmup_max=0, max_samples=100, target_fraction=None, on_sample=on_sample)
    # one second of steps, five redraws a second, and the first
    assert 4 <= len(drawn(stream)) <= 6


def test_a_line_that_is_not_drawn_costs_no_text() -> None:
    stream, made = Terminal(), []
    with line(stream=stream, now=lambda: 0.0) as show:
        assert show is not None
        for number in range(3):
            show(lambda number=number: made.append(number) or f"epoch {number}")  # type: ignore[misc]
    assert made == [0]
    assert drawn(stream) == ["epoch 0"]


def test_the_other_ranks_draw_nothing() -> None:
    stream = Terminal()
    with line(shown=False, stream=stream) as show:
        assert show is None
    assert stream.getvalue() == ""


def interrupted(stream: io.StringIO) -> None:
    with line(stream=stream) as show:
        assert show is not None
        show(lambda: "epoch 1")
        raise KeyboardInterrupt


def test_the_line_is_wiped_when_the_work_is_interrupted() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        interrupted(stream)
    assert stream.getvalue() == "\r\x1b[Kepoch 1\r\x1b[K"


def test_a_training_shows_its_epochs_and_latest_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress("mlp", 40, shown=True) as shown:
        shown.show(3, [CurvePoint(epoch=1, train_loss=0.5, heldout_loss=0.75), CurvePoint(epoch=2, train_loss=0.25, heldout_loss=0.5)])
    assert drawn(stream) == ["training mlp: 3 of 40 epochs, train 0.2500, held out 0.5000"]


class Screen:
    """A terminal of its own, as wide as said, and what was written to it."""

    def __init__(self, columns: int) -> None:
        self.reader, self._writer = pty.openpty()
        self.resize(columns)
        self.stream = open(self._writer, "w", encoding="utf-8", newline="")  # noqa: SIM115 - closed by `written`

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def written(self) -> str:
        self.stream.write("\0")
        self.stream.close()
        text = ""
        while not text.endswith("\0"):
            text += os.read(self.reader, 65536).decode()
        os.close(self.reader)
        return text[:-1]


LONG = "decode: 7 of at most 20, 500 ms each (95 %: 500 ms to 500 ms), 2.50 s left at most"


@pytest.mark.parametrize("columns", [1, 2, 3, 20, 40, 83, 84, 200])
def test_the_line_is_cut_to_the_terminal_with_its_last_column_free(columns: int) -> None:
    screen = Screen(columns)
    with line(stream=screen.stream) as show:
        assert show is not None
        show(lambda: LONG)
    text = screen.written().split("\r\x1b[K")[1]
    assert len(text) == min(len(LONG), columns - 1)
    assert LONG.startswith(text.removesuffix("…"))


def test_a_terminal_that_does_not_know_its_width_is_taken_for_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_line, "USUAL_COLUMNS", 50)
    screen = Screen(0)
    with line(stream=screen.stream) as show:
        assert show is not None
        show(lambda: LONG)
    assert screen.written() == f"\r\x1b[K{LONG[:48]}…\r\x1b[K"


def test_each_redraw_asks_for_the_width_anew() -> None:
    screen, clock = Screen(40), itertools.count().__next__
    with line(stream=screen.stream, now=clock) as show:
        assert show is not None
        show(lambda: LONG)
        screen.resize(20)
        show(lambda: LONG)
        screen.resize(200)
        show(lambda: LONG)
    assert [len(text) for text in screen.written().split("\r\x1b[K") if text] == [39, 19, len(LONG)]


def test_wide_characters_take_two_columns_each() -> None:
    screen = Screen(11)
    with line(stream=screen.stream) as show:
        assert show is not None
        show(lambda: "深深深深深深深")
    assert screen.written() == "\r\x1b[K深深深深…\r\x1b[K"


@pytest.mark.parametrize("kind", ["dumb", "", "unknown", None])
def test_a_terminal_that_cannot_erase_a_line_gets_none(kind: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", kind)
    screen = Screen(80)
    with line(stream=screen.stream) as show:
        assert show is None
    assert screen.written() == ""


def test_a_name_cannot_move_the_cursor() -> None:
    stream = Terminal()
    with line(stream=stream) as show:
        assert show is not None
        show(lambda: "x\x1b[2J\r\n\u202e")
    assert drawn(stream) == [r"x\x1b[2J\r\n\u202e"]


class Gone(Terminal):
    """A terminal whose window was closed."""

    def write(self, _: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


class Narrow(Terminal):
    encoding = "ascii"


class Foreign:
    """Somebody's tee: it is written to, and no more."""

    def write(self, _: str) -> None: ...


def test_what_runs_goes_on_when_the_terminal_has_gone() -> None:
    with line(stream=Gone()) as show:
        assert show is not None
        show(lambda: "epoch 1")


def test_a_terminal_of_a_narrow_encoding_has_what_it_lacks_written_out() -> None:
    stream = Narrow()
    with line(stream=stream) as show:
        assert show is not None
        show(lambda: "50 µs")
    assert drawn(stream) == [r"50 \xb5s"]


@pytest.mark.parametrize("stream", [None, Foreign()])
def test_no_stderr_and_somebodys_object_are_no_terminal(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with line() as show:
        assert show is None


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    with line(stream=stream) as show:
        assert show is None


def test_a_line_of_somebody_else_stays_whole_and_the_next_redraw_begins_below_it() -> None:
    # a profiler writes whole lines into the same terminal, by the descriptor and not through Python
    screen, clock = Screen(80), itertools.count().__next__
    with line(stream=screen.stream, now=clock) as show:
        assert show is not None
        show(lambda: "decode: 1 of 3")
        os.write(screen.stream.fileno(), b"[W kineto] USDT\n")
        show(lambda: "decode: 2 of 3")
    assert screen.written().replace("\r\n", "\n").split("\n")[1] == "\r\x1b[Kdecode: 2 of 3\r\x1b[K"
