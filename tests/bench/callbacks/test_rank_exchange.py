"""What ranks leave for one another: who writes, who is waited for, and what a store that does not answer costs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from bench.callbacks import Watch, exchange, ranks, watch
from bench.callbacks.steps import Step
from bench.machine import processes
from bench.records import record
from bench.records.record import Measurement
from tests.support.seated_ranks import other, seat
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import batches, only_record, run


def report(rank: int, num_steps: int, *, num_ends: int = 1, status: str = "complete", reason: str = "", rows: int = 2) -> ranks.RankReport:
    """Of so many steps of so many rows of 16 tokens."""
    step = Step(host_s=0.5, device_s=None, wait_s=0.0, exposed_wait_s=0.0, shapes=((rows, 16),), num_padding=0, loss=1.0)
    return ranks.RankReport(
        rank=rank,
        device="a scripted device",
        uuid=None,
        steps=(step,) * num_steps,
        power={},
        peak_bytes={},
        params_changed=True,
        params_finite=True,
        observer_s=0.0,
        status=status,
        reason=reason,
        num_ends=num_ends,
    )


def codes(made: Measurement) -> set[str]:
    return {finding.code for finding in made.warnings}


def text(made: Measurement, code: str) -> str:
    return next(finding.text for finding in made.warnings if finding.code == code)


class TestMain:
    """Rank 0 of two."""

    def test_alone_it_waits_for_the_time_of_grace_and_says_that_it_is_one_of_two(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exchange, "GRACE_S", 0.2)
        waited = spied_waits(monkeypatch)
        seat(monkeypatch, rank=0)
        made = run(tmp_path, batches(3))
        assert (made.status, made.proof.num_tokens, made.proof.num_ranks) == ("complete", 3 * 32, 1)
        assert text(made, "NotReduced") == "1 of 2 ranks: rank 1 did not watch, or ended it before"
        assert made.proof.watched.silent_ranks == (1,)
        assert sum(waited) <= 0.35

    def test_a_rank_that_died_is_named_and_what_it_left_on_the_way_is_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.WAITS_S", {"complete": 0.3})
        store = seat(monkeypatch, rank=0)
        other(store, 1).leave(report(1, 2, num_ends=0, status="partial"))
        made = run(tmp_path, batches(3))
        assert (made.status, made.status_reason) == ("partial", "rank 1 had not come to its end when this was written")
        assert text(made, "NotReduced") == "2 of 2 ranks: rank 1 had not come to its end, its first 2 steps are in the record"
        assert (made.proof.num_steps, made.proof.num_tokens, made.proof.num_ranks) == (3, (3 + 2) * 32, 2)

    def test_a_rank_that_ends_later_is_in_the_record_when_the_process_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.WAITS_S", {"complete": 0.0})
        looks: list[Callable[[], None]] = []
        monkeypatch.setattr("bench.callbacks.writer.Finalize", lambda _, look, exitpriority: looks.append(look))
        store = seat(monkeypatch, rank=0)
        late = other(store, 1)
        assert run(tmp_path, batches(3)).status == "partial"
        late.leave(report(1, 5))
        for look in looks:
            look()
        made = only_record(tmp_path)
        assert (made.status, made.proof.num_tokens, [row.num_steps for row in made.proof.watched.ranks]) == ("complete", 8 * 32, [3, 5])
        assert "NotReduced" not in codes(made)

    def test_a_rank_that_broke_off_is_said_and_its_steps_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = seat(monkeypatch, rank=0)
        other(store, 1).leave(report(1, 2, status="failed", reason="ValueError: a bad sample"))
        made = run(tmp_path, batches(3))
        assert (made.status, made.status_reason) == ("partial", "rank 1 broke off: ValueError: a bad sample")
        assert (made.proof.num_steps, made.proof.num_tokens) == (3, 5 * 32)

    def test_a_training_that_breaks_off_here_keeps_what_the_others_left_and_does_not_wait(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited = spied_waits(monkeypatch)
        store = seat(monkeypatch, rank=0, num_ranks=3)
        other(store, 1, 3).leave(report(1, 2, num_ends=0, status="partial"))
        other(store, 2, 3)

        def train() -> None:
            with Watch(nn.Linear(8, 2), out=tmp_path, every=0, ceilings=CEILINGS) as w:
                with w.step(tokens=32):
                    pass
                raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            train()
        made = only_record(tmp_path)
        assert (made.status, made.proof.num_tokens, made.proof.watched.silent_ranks) == ("failed", 3 * 32, (1, 2))
        assert sum(waited) == 0

    def test_every_epoch_ends_once_and_a_silent_rank_is_waited_for_in_one_of_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bench.callbacks.writer.WAITS_S", {"complete": 0.2})
        waited = spied_waits(monkeypatch)
        store = seat(monkeypatch, rank=0, num_ranks=3)
        other(store, 1, 3)
        spoken = other(store, 2, 3)
        watched = watch([{"input_ids": torch.zeros(2, 16, dtype=torch.long)}] * 2, nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False)
        for epoch in range(1, 4):
            spoken.leave(report(2, 2 * epoch, num_ends=epoch))
            for _ in watched:
                pass
        made = only_record(tmp_path)
        assert (made.proof.num_steps, made.proof.num_tokens, made.proof.watched.silent_ranks) == (6, 12 * 32, (1,))
        assert sum(waited) <= 0.45

    @pytest.mark.parametrize("fault", ["mute", "broken", "unconnected"])
    def test_a_store_that_does_not_answer_costs_the_other_ranks_and_not_the_training(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
    ) -> None:
        monkeypatch.setattr(exchange, "WAIT_S", 0.2)
        monkeypatch.setattr("bench.callbacks.writer.WAITS_S", {"complete": 0.2})
        with FaultyStore(fault) as store:
            seat(monkeypatch, rank=0, store=store)
            began_s = time.monotonic()
            made = run(tmp_path, batches(3))
            assert made.proof.num_tokens == 3 * 32
            assert (made.status, made.proof.watched.silent_ranks) == ("partial", (1,))
            assert "NotReduced" in codes(made)
            assert time.monotonic() - began_s < 60
            assert "sixnd: " in capsys.readouterr().err


class TestOther:
    """A rank that is not the lowest that watches."""

    def test_its_report_is_left_and_the_main_one_lives_to_read_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = seat(monkeypatch, rank=1)
        main = other(store, 0)
        main.num_ends = 1
        for _ in watch(batches(4), nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False):
            pass
        assert list(tmp_path.glob("*.json")) == []
        heard = main.hear(0.0)
        assert (heard.absent, heard.silent, heard.reports[1].num_steps, heard.reports[1].num_items) == ((), (), 4, 4 * 32)

    def test_it_is_the_main_one_where_no_lower_one_watches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.WAITS_S", {"complete": 0.0})
        seat(monkeypatch, rank=1)
        made = run(tmp_path, batches(3))
        assert (made.status, made.proof.num_tokens, [row.rank for row in made.proof.watched.ranks]) == ("complete", 3 * 32, [1])
        assert made.proof.watched.silent_ranks == (0,)

    def test_it_writes_the_record_where_the_main_one_is_dead(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.WAITS_S", {"complete": 0.0})
        store = seat(monkeypatch, rank=1, num_ranks=3)
        with monkeypatch.context() as of_the_dead:
            dead = name_of_a_dead_process()
            of_the_dead.setattr(processes, "own_name", lambda: dead)
            other(store, 0, 3)
        other(store, 2, 3).leave(report(2, 3))
        made = run(tmp_path, batches(3))
        assert (made.status, made.proof.num_tokens, made.proof.watched.silent_ranks) == ("partial", 6 * 32, (0,))
        assert [row.rank for row in made.proof.watched.ranks] == [1, 2]

    @pytest.mark.parametrize("taken", [True, False])
    def test_of_a_main_one_on_another_machine_it_waits_at_its_exit_for_a_sign(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
    ) -> None:
        monkeypatch.setattr("bench.callbacks.writer.WAIT_S", 0.1)
        looks: list[Callable[[], None]] = []
        monkeypatch.setattr("bench.callbacks.writer.Finalize", lambda _, look, exitpriority: looks.append(look))
        store = seat(monkeypatch, rank=1)
        with monkeypatch.context() as of_another:
            of_another.setattr(processes, "own_name", lambda: "another machine 1 1.0")
            main = other(store, 0)
        for _ in watch(batches(4), nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False):
            pass
        assert list(tmp_path.glob("*.json")) == []
        if taken:
            main.thank([report(1, 4)])
        for look in looks:
            look()
        assert len(list(tmp_path.glob("*.json"))) == (0 if taken else 1)

    @pytest.mark.parametrize("fault", ["mute", "broken", "unconnected"])
    def test_where_nobody_answers_it_writes_the_record_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
        monkeypatch.setattr(exchange, "WAIT_S", 0.2)
        with FaultyStore(fault) as store:
            seat(monkeypatch, rank=1, store=store)
            made = run(tmp_path, batches(3))
            assert (made.proof.num_tokens, [row.rank for row in made.proof.watched.ranks]) == (3 * 32, [1])


class TestRunning:
    """A training that still runs, whose records are due at once."""

    def test_the_main_rank_saves_what_the_others_have_left_on_the_way(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.AUTOSAVE_S", 0.0)
        other(seat(monkeypatch, rank=0), 1).leave(report(1, 2, num_ends=0, status="partial"))
        seen: list[Measurement] = []
        for _ in watch(batches(4), nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False):
            seen += [record.read(path) for path in tmp_path.glob("*.json")]
        own, left = seen[-1].proof.watched.ranks
        assert (seen[-1].status, left.num_steps, left.num_items) == ("partial", 2, 2 * 32)
        assert seen[-1].proof.num_tokens == own.num_items + left.num_items > left.num_items

    def test_another_rank_leaves_what_it_has_so_far(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.AUTOSAVE_S", 0.0)
        store = seat(monkeypatch, rank=1)
        main, seen = other(store, 0), []
        for _ in watch(batches(4), nn.Linear(8, 2), out=tmp_path, every=0, ceilings=False):
            seen += [(left.num_steps, left.status, left.num_ends) for left in main.hear(0.0).reports.values()]
        assert seen
        assert {left[1:] for left in seen} == {("partial", 0)}
        assert list(tmp_path.glob("*.json")) == []


def test_a_group_that_comes_up_after_the_watching_began_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seats = dist.HashStore(), [None, exchange.Seat(0, 2, dist.HashStore())]
    seats[1] = exchange.Seat(0, 2, store)
    late = exchange.RankExchange(lambda: seats.pop(0), "late")
    late.meet()
    assert (late.rank, late.num_ranks) == (0, 1)
    late.meet()
    assert (late.num_ranks, store.check(["sixnd/late/0/begun"])) == (2, True)


def test_the_store_of_a_group_is_not_held() -> None:
    """Where one is, the group that comes up after it on the same port meets its keys, and hangs: so it was with gloo, tried by hand."""

    class Store(FaultyStore):
        def clone(self) -> Any:
            return dist.HashStore()

    store = Store("mute")
    gone, seats = weakref.ref(store), [exchange.Seat(0, 2, store)]
    met = exchange.RankExchange(lambda: seats.pop(), "a training")
    met.meet()
    assert met.num_ranks == 2
    del store
    gc.collect()
    assert gone() is None


def test_trainings_are_told_apart_by_the_line_that_began_them_and_how_often_it_did() -> None:
    def begin() -> exchange.RankExchange:
        return exchange.RankExchange(lambda: None)

    first, second = (begin() for _ in range(2))
    lines, numbers = zip(*(each._name.split() for each in (first, second, begin(), begin())), strict=True)
    assert lines[0] == lines[1] != lines[2] == lines[3]
    assert numbers == ("0", "1", "0", "1")


def test_a_process_runs_until_it_has_ended_whether_or_not_its_parent_has_asked() -> None:
    assert processes.is_running(processes.own_name()) is True
    assert processes.is_running("another machine 1 1.0") is None
    assert processes.is_running("") is None
    assert processes.is_running(name_of_a_dead_process()) is False
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        node, _, _ = processes.own_name().rpartition(f" {os.getpid()} ")
        name = f"{node} {child.pid} {psutil.Process(child.pid).create_time()!r}"
        assert processes.is_running(name) is True
        child.kill()
        while processes.is_running(name):  # a zombie from its death on, since nobody has asked for its code
            time.sleep(0.01)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE


def test_a_mute_store_that_is_asked_without_a_bound_hangs() -> None:
    """The twin of the faults above: what they bound does not end by itself."""
    with FaultyStore("mute") as store:
        asked = threading.Thread(target=store.check, args=(["a key"],), daemon=True)
        asked.start()
        asked.join(0.5)
        assert asked.is_alive()


def spied_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between questions to the store: all that the end of a training waits for."""
    pauses: list[float] = []
    sleep = time.sleep

    def spy(seconds: float) -> None:
        if threading.current_thread().name == "sixnd ranks":
            pauses.append(seconds)
        sleep(seconds)

    monkeypatch.setattr("time.sleep", spy)
    return pauses


def name_of_a_dead_process() -> str:
    node, _, _ = processes.own_name().rpartition(f" {os.getpid()} ")
    return f"{node} {os.getpid()} 1.0"  # its number is another one's now


class FaultyStore:
    """A store that answers never, or with an error, or to which there is no connection."""

    def __init__(self, fault: str) -> None:
        self._fault, self._is_over = fault, threading.Event()

    def __enter__(self) -> FaultyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def clone(self) -> FaultyStore:
        if self._fault == "unconnected":
            raise dist.DistNetworkError("connection refused")
        return self

    def _answer(self, *_: Any) -> Any:
        if self._fault == "broken":
            raise dist.DistNetworkError("connection reset by peer")
        self._is_over.wait()

    set = get = check = _answer
