"""Law 11: an error of ours costs a figure, never the training. Every meter of every hook raises once."""

from __future__ import annotations

import functools
import os
import signal
import timeit
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.callbacks import SixndCallback, Watch, watch
from bench.callbacks.guard import WHOLE, Guard, event
from bench.callbacks.lightning import LightningHooks
from bench.callbacks.loop import WatchedLoader
from bench.machine import environment
from bench.records.environment import Environment
from estimators.errors import BadValueError, UnavailableError
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import trainer
from tests.support.watched_trainings import Training, batches, only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

Losses = list[float]


def plain(out: Path | None) -> Losses:
    """Four steps of a loop of one's own; watched where there is a folder."""
    torch.manual_seed(0)
    training, losses = Training(tiny_model()), []
    data: Any = batches(4) if out is None else watch(batches(4), training.model, out=out, every=1, ceilings=CEILINGS)
    for batch in data:
        loss = training.step(batch)
        losses.append(float(loss))
        if out is not None:
            data.loss(loss)
            data.figures()
            with data.pause():
                pass
    return losses


def block(out: Path | None) -> Losses:
    """The same with a block around every step."""
    if out is None:
        return plain(None)
    torch.manual_seed(0)
    training, losses = Training(tiny_model()), []
    with Watch(training.model, out=out, every=1, ceilings=CEILINGS) as w:
        for batch in batches(4):
            with w.step(batch):
                loss = training.step(batch)
                w.loss(loss)
            losses.append(float(loss))
            w.figures()
            with w.pause():
                pass
    return losses


def by_trainer(out: Path | None) -> Losses:
    """The same by transformers' Trainer, with logs and an evaluation."""
    torch.manual_seed(0)
    folder = out or Path("unwatched")
    watching = [] if out is None else [SixndCallback(out=out, every=1, ceilings=CEILINGS)]
    made = trainer(folder, *watching, num_rows=8, logging_steps=1, eval_strategy="steps", eval_steps=2)
    made.train()
    return [entry["loss"] for entry in made.state.log_history if "loss" in entry]


def by_lightning(out: Path | None) -> Losses:
    """The same by Lightning's events, with a logger and a validation."""
    torch.manual_seed(0)
    training, losses = Training(tiny_model()), []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: None)
    by = SimpleNamespace(accumulate_grad_batches=1, precision="32-true", loggers=[logger], global_step=0, is_last_batch=False)
    hooks = None if out is None else LightningHooks(out=out, every=1, ceilings=CEILINGS)
    if hooks:
        hooks.on_train_start(by, training.model)
    for number, batch in enumerate(batches(4)):
        if hooks:
            hooks.on_train_batch_start(by, training.model, batch, number)
        loss = training.step(batch)
        losses.append(float(loss))
        if hooks:
            hooks.on_train_batch_end(by, training.model, {"loss": loss}, batch, number)
            hooks.on_validation_start(by, training.model)
            hooks.on_validation_end(by, training.model)
    if hooks:
        hooks.on_train_end(by, training.model)
    return losses


LOOPS: dict[str, Callable[[Path | None], Losses]] = {
    "plain": plain,
    "block": block,
    "trainer": by_trainer,
    "lightning": by_lightning,
}

TOKENS = {"plain": 4 * 32, "block": 4 * 32, "trainer": 8 * 14, "lightning": 4 * 32}
"""By hand: 4 batches of 2 rows of 16; the Trainer's rows have 2 of padding."""

ONE_FIGURE = {
    "bench.callbacks.watcher.scalar_loss": "loss",
    "bench.callbacks.rank_state.find_flop_source": "training_flop",
    "bench.callbacks.flop_source._OpTableFlop.see": "training_flop",
    "bench.callbacks.flop_source._OpTableFlop.estimate": "estimate",
    "bench.callbacks.rank_state.SampledParameters": "params_changed",
    "bench.callbacks.rank_state.SampledParameters.changed": "params_changed",
    "bench.callbacks.context.TrainingContext.look_for_autocast": "autocast",
    "bench.callbacks.context.TrainingContext.close": "ceilings",
    "bench.callbacks.context.config_of": "the model's configuration",
    "bench.callbacks.context.environment.collect": "environment",
    "bench.backend.device.Device.peak_memory": "memory_bytes",
    "bench.backend.device.Device.describe": "device",
    "bench.callbacks.energy.Energy.open": "energy_j",
    "bench.callbacks.energy.Energy.close": "energy_j",
    "bench.callbacks.energy.Energy.readings": "energy_j",
    "bench.callbacks.console.Console.show": "progress lines",
    "bench.callbacks.rates.figures": "rates",
}
"""What raises -> the one figure that is then lost, while the record is whole."""

MORE_THAN_A_FIGURE = {
    "bench.callbacks.steps.StepLog.begin": WHOLE,
    "bench.callbacks.steps.StepLog.add": WHOLE,
    "bench.callbacks.steps.StepLog.end": WHOLE,
    "bench.callbacks.steps.StepLog.settle": WHOLE,
    "bench.callbacks.steps.StepLog._read": WHOLE,
    "bench.callbacks.to_record.fill": "record",
}
"""What raises -> what the record, which is then partial, says of it."""

NO_RECORD = ["bench.backend.device.choose", "bench.callbacks.writer.Writer.__init__", "bench.records.draft.Draft.save"]
"""What raises, and there is none."""


class BrokenError(Exception):
    """A meter's."""


def broken(*_: Any, **__: Any) -> Any:
    raise BrokenError("a meter")


@functools.cache
def unwatched(loop: str) -> Losses:
    return LOOPS[loop](None)


@functools.cache
def this_environment() -> Environment:
    return environment.collect()


OFTEN = ("scalar_loss", "find_flop_source", "Energy.open", "Console.show", "TrainingContext.close")
"""Meters that every hook has to lose in every run of the tests; the plain loop loses all, and the slow tests have the rest."""


def cases(meters: Iterable[str]) -> list[Any]:
    slow = [() if loop == "plain" or meter.endswith(OFTEN) else pytest.mark.slow for loop in LOOPS for meter in meters]
    pairs = [(loop, meter) for loop in LOOPS for meter in meters]
    return [pytest.param(*pair, marks=mark) for pair, mark in zip(pairs, slow, strict=True)]


class TestMatrix:
    @pytest.fixture(autouse=True)
    def known_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = this_environment()
        monkeypatch.setattr("bench.callbacks.context.environment.collect", lambda: found)

    def watched(self, loop: str, meter: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
        monkeypatch.setattr(meter, broken)
        assert LOOPS[loop](out) == unwatched(loop)

    @pytest.mark.parametrize(("loop", "meter"), cases(ONE_FIGURE))
    def test_a_meter_that_raises_costs_its_figure(
        self, loop: str, meter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.watched(loop, meter, tmp_path, monkeypatch)
        made, figure = only_record(tmp_path), ONE_FIGURE[meter]
        assert made.unavailable[figure] == "BrokenError: a meter"
        assert capsys.readouterr().err.count("BrokenError: a meter") == 1
        assert (made.status, made.proof.num_steps, made.proof.num_tokens) == ("complete", 4, TOKENS[loop])

    @pytest.mark.parametrize(("loop", "meter"), cases(MORE_THAN_A_FIGURE))
    def test_steps_that_cannot_be_told_cost_the_rest_of_the_record(
        self, loop: str, meter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.watched(loop, meter, tmp_path, monkeypatch)
        made = only_record(tmp_path)
        assert made.status == "partial"
        assert MORE_THAN_A_FIGURE[meter] in made.unavailable or "BrokenError: a meter" in made.status_reason
        assert "BrokenError: a meter" in capsys.readouterr().err

    @pytest.mark.parametrize(("loop", "meter"), cases(NO_RECORD))
    def test_where_there_can_be_no_record_there_is_a_warning(
        self, loop: str, meter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.watched(loop, meter, tmp_path, monkeypatch)
        assert list(tmp_path.glob("*.json")) == []
        assert capsys.readouterr().err.count("BrokenError: a meter") == 1

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_batch_of_unknown_kind_costs_its_tokens_and_flop(self, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.batches.named_parts", broken)
        assert LOOPS[loop](tmp_path) == unwatched(loop)
        made = only_record(tmp_path)
        assert made.unavailable["batch size"] == "BrokenError: a meter"
        assert made.unavailable["training_flop"] == "BrokenError: a meter"
        assert (made.status, made.proof.num_steps, made.proof.num_tokens, made.proof.num_samples) == ("complete", 4, None, None)
        phase = made.phase("train_step")
        assert phase is not None
        assert (phase.item, phase.items_per_sample, len(phase.samples_s) + len(phase.warmup_s)) == ("step", 1, 4)

    @pytest.mark.parametrize("loop", LOOPS)
    @pytest.mark.parametrize("meter", ["bench.callbacks.steps.StepLog.end", "bench.callbacks.rank_state.SampledParameters"])
    def test_a_guard_that_lets_an_error_through_is_seen(
        self, loop: str, meter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def reraise(self: Guard, figure: str, error: Exception) -> None:
            raise error

        monkeypatch.setattr(Guard, "fail", reraise)
        with pytest.raises(BrokenError, match="a meter"):
            self.watched(loop, meter, tmp_path, monkeypatch)


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
