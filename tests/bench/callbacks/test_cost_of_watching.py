"""What watching a step costs, in calls of Python functions: processor time on a shared machine tells more of the others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.callbacks import Watch, step_reading, watch
from bench.callbacks.batches import BatchSize
from bench.callbacks.flop_source import FlopSource
from bench.callbacks.passes import Forward
from bench.callbacks.steps import READ_AT_ONCE, StepLog
from reports.views.records.watched import watched_table
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import batches, only_record

STEPS = 3 * READ_AT_ONCE
"""Counted: whole lots of steps that are read together."""

MOST_CALLS = 123
"""Of Python functions that watching adds to a step of one forward and one backward pass of a batch with a mask and labels. It was 282.

At a tenth of a microsecond each, with as many calls into C and 10 us of counting and of hooks, these are 30 us."""

MOST_CALLS_OF_AN_EMPTY_STEP = 78
"""The same of a step without passes; it was 139."""


class Classifier(nn.Module):
    """Of tokens, with as few functions of its own as there can be."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(128, 4), nn.Linear(4, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.embedding(input_ids))
        return {"loss": logits.mean(), "logits": logits}


def num_calls(run: Callable[[], None]) -> int:
    """Python functions that are called while something runs."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


def calls_a_step(out: Path, *, with_passes: bool) -> float:
    """Calls that watching adds: those of a watched loop less those of the same loop alone."""
    (batch,), model = batches(1, rows=2, length=16, padding=3), Classifier()

    def body() -> torch.Tensor:
        loss: torch.Tensor = model(**batch)["loss"] if with_passes else torch.ones(())
        if with_passes:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def alone() -> None:
        for _ in range(STEPS):
            body()

    with Watch(model, out=out, every=0, ceilings=CEILINGS) as w:

        def watched() -> None:
            for _ in range(STEPS):
                with w.step(batch):
                    w.loss(body())

        bare = num_calls(alone)
        watched()  # what is known after the first step is not asked again
        assert w._writer is not None
        w._writer.due_s += 1e6  # no record is saved meanwhile: it costs half a percent of the time, whatever a step takes
        return (num_calls(watched) - bare) / STEPS


def test_a_watched_step_calls_few_functions(tmp_path: Path) -> None:
    assert calls_a_step(tmp_path / "a", with_passes=True) <= MOST_CALLS
    assert calls_a_step(tmp_path / "b", with_passes=False) <= MOST_CALLS_OF_AN_EMPTY_STEP


def test_a_meter_that_calls_more_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = StepLog.add

    def slow(self: StepLog, size: BatchSize) -> None:
        for _ in range(MOST_CALLS):
            (lambda: None)()
        add(self, size)

    monkeypatch.setattr(StepLog, "add", slow)
    assert calls_a_step(tmp_path, with_passes=True) > MOST_CALLS


def test_scalars_on_a_device_are_read_together_and_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here on the CPU, through a stream that is none; each to the last digit of its dtype."""
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    stacked, stack = [], torch.stack
    monkeypatch.setattr(torch, "stack", lambda scalars: stacked.append(len(scalars)) or stack(scalars))
    values = [torch.tensor(0.1), None, 7, torch.tensor(3), torch.tensor([0.3]), torch.tensor(0.1, dtype=torch.bfloat16), torch.tensor(5)]
    expected = [None if value is None else float(value) for value in values]
    assert step_reading.numbers(values, side=object()) == expected == step_reading.numbers(values, side=None)
    assert sorted(stacked) == [1, 2, 2]


def test_counting_is_no_time_of_a_step_and_has_a_figure_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted clock: 5 s to count the one kind of pass, 1 s for every step."""
    now, kind_of = [0.0], FlopSource._kind
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def slow(self: FlopSource, forward: Forward) -> Any:
        now[0] += 5.0
        return kind_of(self, forward)

    monkeypatch.setattr(FlopSource, "_kind", slow)
    model, data = Classifier(), batches(3)
    for batch in watch(data, model, out=tmp_path, every=0, ceilings=CEILINGS):
        model(**batch)["loss"].backward()
        now[0] += 1.0
    made = only_record(tmp_path)
    step = made.phase("train_step")
    assert step is not None
    assert [*step.warmup_s, *step.samples_s] == [1.0] * 3
    assert made.proof.watched.counting_s == 5.0
    assert made.proof.watched.others_s == (0.0,) * 3
    (said,) = [row for row in watched_table(made).rows if row["figure"] == "counting_s"]
    assert (said["value"], said["tag"]) == ("5.00 s", "measured")


def test_no_step_is_left_unread_for_long(tmp_path: Path) -> None:
    (batch,) = batches(1)
    with Watch(Classifier(), out=tmp_path, every=0, accumulate=1, ceilings=CEILINGS) as w:
        log = w.state.log
        for number in range(3 * READ_AT_ONCE):
            with w.step(batch):
                pass
            assert number + 1 - len(log.done) <= READ_AT_ONCE
    assert len(log.done) == 3 * READ_AT_ONCE


def test_a_thread_that_is_kept_from_its_processor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripted clocks: four steps of 1 s each, of which the thread ran 0.25 s: 75 % without a processor."""
    now, ran = [0.0], [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.thread_time", lambda: ran[0])
    model = Classifier()
    for batch in watch(batches(4), model, out=tmp_path, every=0, ceilings=CEILINGS):
        model(**batch)["loss"].backward()
        now[0] += 1.0
        ran[0] += 0.25
    made = only_record(tmp_path)
    assert made.proof.watched is not None
    assert made.proof.watched.processor_s == 1.0
    (finding,) = [each for each in made.warnings if each.code == "HeldBack"]
    assert "without its processor for 75 % of the time" in finding.text
    (said,) = [row for row in watched_table(made).rows if row["figure"] == "without_processor_fraction"]
    assert said["value"] == "75.0 %"
