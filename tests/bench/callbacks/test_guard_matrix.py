"""Law 11: an error of ours costs a figure, never the training. Every meter of every kind of loop raises once."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.callbacks import SixndCallback, Watch, watch
from bench.callbacks.guard import WHOLE, Guard
from bench.callbacks.lightning import LightningHooks
from bench.machine import environment
from bench.records.environment import Environment
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
    folder = out or Path(tempfile.mkdtemp())
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
    "bench.callbacks.flop_source.FlopSource.learn": "training_flop",
    "bench.callbacks.flop_source.FlopSource.work_of": "training_flop",
    "bench.callbacks.flop_source.FlopSource.estimate": "estimate",
    "bench.callbacks.pass_hooks.PassHooks._backward": "training_flop",
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
    "bench.callbacks.step_reading.StepReader.rows": WHOLE,
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


OFTEN = ("scalar_loss", "FlopSource.learn", "PassHooks._backward", "Energy.open", "Console.show", "TrainingContext.close")
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
        monkeypatch.setattr("bench.callbacks.writer.EARLY_S", 1e9)  # on a slow machine, too, the one save is that of the end
        monkeypatch.setattr("bench.callbacks.writer.AUTOSAVE_S", 1e9)
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
    def test_a_batch_of_unknown_kind_costs_its_tokens_and_no_flop(self, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.batches.named_parts", broken)
        assert LOOPS[loop](tmp_path) == unwatched(loop)
        made = only_record(tmp_path)
        assert made.unavailable["batch size"] == "BrokenError: a meter"
        assert made.proof.watched.training_flop
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
