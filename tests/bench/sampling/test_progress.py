"""The line that a person sees while samples are taken."""

import io
import itertools
import sys

import pytest

from bench.records.learning import CurvePoint
from bench.sampling.progress import line, sampling
from bench.sampling.timing_loop import sample
from bench.workloads.article.workload import Progress
from tests.support.scripted_clock import ScriptedClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    with Progress("mlp", 40, shown=True) as progress:
        progress.show(3, [CurvePoint(epoch=1, train_loss=0.5, heldout_loss=0.75), CurvePoint(epoch=2, train_loss=0.25, heldout_loss=0.5)])
    assert drawn(stream) == ["training mlp: 3 of 40 epochs, train 0.2500, held out 0.5000"]
