"""SIGTERM and SIGHUP during a watched training: what was measured is kept, and the process ends as it would have."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainerCallback

from bench import end_signals
from bench.callbacks import Watch, kept_on_signal, watch
from bench.cli.main import main
from bench.sampling import timing_loop
from bench.sampling.clock import HostClock, nothing
from tests.support.processes import in_a_process
from tests.support.tiny_models import write_config
from tests.support.trainings_by_trainer import callback, trainer
from tests.support.watched_trainings import only_record

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own for each signal is a fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning"),
]

X = [torch.zeros(4, 8)] * 6


@pytest.fixture(autouse=True)
def nobody_is_left() -> None:
    """What other tests have begun to watch and never finished."""
    for keeper in list(kept_on_signal._keepers):
        kept_on_signal._forget(keeper)


Event = Callable[[int], object]


def training(out: Path, event: Event) -> Callable[[], None]:
    """A loop, in each of whose steps something happens."""

    def train() -> None:
        net = nn.Linear(8, 2)
        for number, x in enumerate(watch(X, net, out=out, every=0, ceilings=False)):
            net(x)
            event(number)

    return train


def kill_in_step(number: int, kind: int = signal.SIGTERM) -> Event:
    return lambda step: os.kill(os.getpid(), kind) if step == number else None


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_partial_record_and_ends_the_process(kind: signal.Signals, tmp_path: Path) -> None:
    assert in_a_process(training(tmp_path, kill_in_step(4, kind))) == -kind
    made = only_record(tmp_path)
    assert (made.status, made.status_reason, made.proof.num_steps) == ("partial", f"ended by {kind.name}", 4)


def test_so_it_is_in_a_trainer(tmp_path: Path) -> None:
    class Terminated(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    made = trainer(tmp_path, callback(tmp_path), Terminated())
    assert in_a_process(made.train) == -signal.SIGTERM
    written = only_record(tmp_path / "runs")
    assert (written.status, written.status_reason, written.proof.num_steps) == ("partial", "ended by SIGTERM", 3)


def test_a_handler_of_the_user_is_kept_and_called(tmp_path: Path) -> None:
    def leave(number: int, frame: Any) -> None:
        sys.exit(7)

    def train() -> None:
        signal.signal(signal.SIGTERM, leave)
        training(tmp_path, lambda step: self_check(step))()

    def self_check(step: int) -> None:
        assert signal.getsignal(signal.SIGTERM) is leave
        kill_in_step(2)(step)

    assert in_a_process(train) == 7
    assert only_record(tmp_path).proof.num_steps == 2


def test_a_handler_that_the_user_sets_later_decides_and_may_call_ours(tmp_path: Path) -> None:
    def event(step: int) -> None:
        if step == 1:
            before = signal.getsignal(signal.SIGTERM)
            assert callable(before)
            signal.signal(signal.SIGTERM, lambda number, frame: (before(number, frame), sys.exit(5)))
        kill_in_step(2)(step)

    assert in_a_process(training(tmp_path, event)) == 5
    assert only_record(tmp_path).status_reason in ("ended by SIGTERM", "the loop was left before its end, by a break or an error")


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    def train() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        training(tmp_path, kill_in_step(2, signal.SIGHUP))()

    assert in_a_process(train) == 0
    assert only_record(tmp_path).status == "complete"


def test_signals_are_as_they_were_before_the_first_step_and_after_the_last(tmp_path: Path) -> None:
    def state() -> tuple[Any, ...]:
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP), fd

    before, inside = state(), []
    loader = watch(X, nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False)
    assert state() == before
    for _ in loader:
        inside.append(state())
    assert state() == before
    assert all(each[0] is kept_on_signal._end and each[2] != -1 for each in inside)


def test_a_training_in_another_thread_takes_no_signal(tmp_path: Path) -> None:
    seen: list[Any] = []
    thread = threading.Thread(target=training(tmp_path, lambda _: seen.append(signal.getsignal(signal.SIGTERM))))
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL] * len(X)


def test_a_worker_that_was_forked_ends_at_once_and_writes_nothing(tmp_path: Path) -> None:
    codes = []

    def event(step: int) -> None:
        if step == 3:
            codes.append(in_a_process(lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(30))))

    training(tmp_path, event)()
    assert codes == [-signal.SIGTERM]
    assert only_record(tmp_path).status == "complete"


def test_a_main_thread_that_is_stuck_in_a_call_is_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_on_signal, "STUCK_S", 0.1)

    def event(step: int) -> None:
        if step == 2:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
            mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
            libc.pthread_mutex_lock(mutex)
            libc.pthread_mutex_lock(mutex)  # for ever, as a collective that another rank has left

    begun_s = time.monotonic()
    assert in_a_process(training(tmp_path, event)) == -signal.SIGTERM
    assert time.monotonic() - begun_s < 8
    assert (only_record(tmp_path).status_reason, only_record(tmp_path).proof.num_steps) == ("ended by SIGTERM", 2)


def test_a_record_that_cannot_be_written_in_time_does_not_keep_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_on_signal, "PATIENCE_S", 0.1)
    monkeypatch.setattr("bench.callbacks.writer.Writer.write", lambda *_: time.sleep(60))
    begun_s = time.monotonic()
    assert in_a_process(training(tmp_path, kill_in_step(2))) == -signal.SIGTERM
    assert time.monotonic() - begun_s < 8


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_run_that_a_signal_ends_keeps_its_samples(
    kind: signal.Signals, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, count = HostClock.time, [0]
    monkeypatch.setattr(timing_loop, "_is_narrow", lambda *_: False)  # on a quiet machine 1 % is reached before the signal

    def time_and_kill(self: HostClock, step: Callable[[], object]) -> float:
        count[0] += step is not nothing
        if count[0] == 60 and step is not nothing:
            os.kill(os.getpid(), kind)
        return measured(self, step)

    monkeypatch.setattr(HostClock, "time", time_and_kill)
    config, runs = write_config(tmp_path / "tiny", "gpt2"), tmp_path / "runs"
    words = [
        "run",
        "--config",
        str(config),
        "--task",
        "train",
        "--batch",
        "2",
        "--seq-len",
        "16",
        "--steps",
        "100",
        "--device",
        "cpu",
        "--out",
        str(runs),
    ]
    assert in_a_process(lambda: sys.exit(main(words))) == code
    made = only_record(runs)
    phase = made.phase("train_step")
    assert made.status == "partial"
    assert made.status_reason == ("interrupted by the user" if kind == signal.SIGINT else f"ended by {kind.name}")
    assert phase is not None
    assert len(phase.samples_s) > 1


def test_a_command_takes_the_first_signal_and_leaves_them_as_they_were() -> None:
    def command() -> None:
        with end_signals.as_interrupts():
            with pytest.raises(KeyboardInterrupt, match=r"^$"):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # a scheduler tells a process and its group
            signal.raise_signal(signal.SIGHUP)
            assert (end_signals.ended_by(), end_signals.exit_code()) == ("ended by SIGTERM", 143)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with end_signals.as_interrupts():
            assert (end_signals.ended_by(), end_signals.exit_code()) == ("interrupted by the user", 130)

    assert in_a_process(command) == 0


def test_a_watch_that_nobody_finished_leaves_the_signals_when_it_is_gone(tmp_path: Path) -> None:
    def train() -> None:
        w = Watch(nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False)
        w.begin(X[0])
        assert signal.getsignal(signal.SIGTERM) is kept_on_signal._end
        del w
        gc.collect()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    assert in_a_process(train) == 0
