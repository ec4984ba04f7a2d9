"""The guard itself: every event of every hook, what passes, what it costs, and what is refused before a training."""

from __future__ import annotations

import functools
import os
import signal
import timeit
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bench.callbacks import SixndCallback, Watch
from bench.callbacks.guard import Guard, event
from bench.callbacks.lightning import LightningHooks
from bench.callbacks.loop import WatchedLoader
from estimators.errors import BadValueError, UnavailableError
from tests.support.watched_trainings import only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class BrokenError(Exception):
    """Of a meter."""


class Exploding:
    """Stands for everything that a hook holds: whatever is asked of it raises."""

    def __getattr__(self, name: str) -> Any:
        raise BrokenError(name)


def hooks(out: Path) -> dict[str, Any]:
    """One of each, with everything in it broken."""
    watcher = Watch(tiny_model(), out=out, every=0, ceilings=False)
    for name in ("_context", "_state", "_log", "_energy", "_writer", "_console", "_accelerator"):
        setattr(watcher, name, Exploding())
    by_trainer, by_lightning = SixndCallback(out=out), LightningHooks(out=out)
    for hook in (by_trainer, by_lightning):
        hook._watch = Exploding()  # type: ignore[assignment]
    return {
        "Watch": watcher,
        "WatchedLoader": WatchedLoader([1], watcher, None),
        "SixndCallback": by_trainer,
        "LightningHooks": by_lightning,
    }


GIVEN: dict[str, tuple[Any, ...]] = {"begin_anew": (None, "too large"), "loss": (1.0,), "begin": ({},), "step": ({},)}
"""Arguments of events that have any; those of the Trainers' are all broken."""

NO_EVENT = {"attach", "setup", "state_dict", "load_state_dict"}


def events_of(hook: Any) -> list[str]:
    return [name for name, member in vars(type(hook)).items() if callable(member) and not name.startswith("_") and name not in NO_EVENT]


class TestEvents:
    @pytest.mark.parametrize("kind", ["Watch", "WatchedLoader", "SixndCallback", "LightningHooks"])
    def test_no_event_of_any_hook_raises_however_broken_what_it_holds(self, kind: str, tmp_path: Path) -> None:
        names = events_of(hooks(tmp_path)[kind])
        assert len(names) >= 3
        for name in names:
            hook = hooks(tmp_path)[kind]
            result = self.call(hook, name)
            if isinstance(result, AbstractContextManager):
                with result:
                    pass

    def call(self, hook: Any, name: str) -> Any:
        if not name.startswith("on_"):
            return getattr(hook, name)(*GIVEN.get(name, ()))
        if isinstance(hook, SixndCallback):
            return getattr(hook, name)(*[Exploding()] * 3, model=Exploding(), logs={"loss": 1.0})
        num_given = {"on_train_batch_start": 4, "on_train_batch_end": 5, "on_exception": 3}.get(name, 2)
        return getattr(hook, name)(*[Exploding()] * num_given)

    def test_a_loop_over_a_broken_watch_gets_its_batches(self, tmp_path: Path) -> None:
        assert list(hooks(tmp_path)["WatchedLoader"]) == [1]

    def test_an_event_that_no_guard_holds_would_be_seen(self, tmp_path: Path) -> None:
        watcher = hooks(tmp_path)["Watch"]
        with pytest.raises(BrokenError, match="is_open"):
            Watch.flush.__wrapped__(watcher)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_what_is_no_error_of_a_meter_passes(self, error: type[BaseException]) -> None:
        def stop() -> None:
            raise error

        with pytest.raises(error):
            Guard()("figure", stop)
        with pytest.raises(error):
            Guard().attempt("saving", stop)

        class Hook:
            _guard = Guard()

            @event
            def on_step(self) -> None:
                stop()

        with pytest.raises(error):
            Hook().on_step()

    @pytest.mark.parametrize("wrap", [lambda handler: handler, lambda handler: functools.partial(handler)])
    def test_what_a_handler_of_the_user_raises_while_a_meter_runs_passes(self, wrap: Callable[[Any], Any]) -> None:
        class PreemptedError(Exception):
            pass

        def preempt(number: int, frame: Any) -> None:
            raise PreemptedError("the machine is wanted")

        before = signal.signal(signal.SIGUSR1, wrap(preempt))
        try:
            with pytest.raises(PreemptedError, match="the machine is wanted"):
                Guard()("figure", os.kill, os.getpid(), signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_an_error_that_cannot_tell_itself_is_named(self) -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise ValueError

        def read() -> None:
            raise MuteError

        guard = Guard()
        assert guard("figure", read) is None
        assert guard.failed == {"figure": "MuteError"}

    def test_a_figure_is_off_once_it_failed_and_others_are_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        calls: list[str] = []

        def read(name: str) -> str:
            calls.append(name)
            if name == "bad":
                raise ValueError("no")
            return name

        guard = Guard()
        assert [guard(name, read, name) for name in ("bad", "good", "bad", "good")] == [None, "good", None, "good"]
        assert calls == ["bad", "good", "good"]
        assert capsys.readouterr().err == "sixnd: bad is unavailable, the training goes on: ValueError: no\n"

    def test_what_may_succeed_later_is_tried_again_and_said_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        guard, results = Guard(), iter([OSError(28, "No space left on device"), OSError(28, "No space left on device"), None])

        def save() -> str:
            error = next(results)
            if error is not None:
                raise error
            return "saved"

        assert [guard.attempt("saving", save) for _ in range(3)] == [None, None, "saved"]
        assert guard.failed == {}
        assert capsys.readouterr().err.count("saving failed") == 1

    def test_an_event_costs_less_than_a_microsecond(self) -> None:
        class Hook:
            def __init__(self) -> None:
                self._guard = Guard()

            def bare(self) -> None:
                pass

            @event
            def guarded(self) -> None:
                pass

        hook = Hook()
        costs_s = [min(timeit.repeat(each, number=2000, repeat=20)) / 2000 for each in (hook.bare, hook.guarded)]
        assert costs_s[1] - costs_s[0] < 1e-6


class TestBeforeTheTraining:
    """What the user asks for wrongly is said at once."""

    @pytest.mark.parametrize("make", [SixndCallback, LightningHooks, functools.partial(Watch, tiny_model())])
    def test_a_folder_that_cannot_be_written_and_a_wrong_option_are_refused(self, make: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UnavailableError, match="cannot write records to"):
            make(out=tmp_path / "file" / "runs")
        with pytest.raises(BadValueError, match="every is -1; expected a whole number from 0"):
            make(out=tmp_path, every=-1)

    def test_a_step_without_a_size_is_refused_before_the_first_and_costs_the_figure_after_it(self, tmp_path: Path) -> None:
        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=False) as w:
            with pytest.raises(BadValueError, match="neither a batch nor tokens"), w.step():
                pass
            for _ in range(2):
                with w.step(tokens=8, seq_len=4):
                    pass
            with w.step():
                pass
        made = only_record(tmp_path)
        assert made.proof.num_steps == 3
        assert "neither a batch nor tokens" in made.unavailable["batch size"]
