"""Only time inside the loader's `next` is a wait for data; what savers, evaluators and other callbacks take is a figure of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import TrainerCallback

from bench.callbacks import Watch, lightning_callback, watch
from bench.callbacks.methods import WatchedMethods
from bench.cli.main import main
from bench.records.record import Measurement
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import callback, trainer
from tests.support.watched_trainings import batches, only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

HOUR_S = 3600.0
"""What a slow callback takes, on the clock that is read; nobody sleeps."""

Late = list[float]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    """Seconds by which the clock that is read is ahead of the real one."""
    ahead, real = [0.0], time.perf_counter
    monkeypatch.setattr("time.perf_counter", lambda: real() + ahead[0])
    return ahead


def slow(base: type, events: Iterable[str], late: Late) -> Any:
    """A callback to which an hour passes at each of these events."""

    def pass_an_hour(self: Any, *_: Any, **__: Any) -> None:
        late[0] += HOUR_S

    return type("Slow", (base,), dict.fromkeys(events, pass_an_hour))()


def steps_s(made: Measurement) -> tuple[float, ...]:
    phase = made.phase("train_step")
    assert phase is not None
    return (*phase.warmup_s, *phase.samples_s)


def hours_of_others(made: Measurement) -> float:
    """Steps and waits are of less than an hour, whatever the others took; what they took, in hours."""
    seen = made.proof.watched
    assert max(steps_s(made)) < HOUR_S
    assert sum(seen.data_wait_s) < HOUR_S
    assert "TimeOfOthers" in {finding.code for finding in made.warnings}
    return sum(seen.others_s) / HOUR_S


TRAINER_EVENTS = {
    # Event -> how often, by hand: 2 epochs of 3 steps of 2 batches, that log and save at each step and evaluate at every other.
    "on_epoch_begin": 1,  # W29; the first one is over before anybody has taken a step
    "on_step_begin": 6,
    "on_substep_end": 6,
    "on_pre_optimizer_step": 6,
    "on_optimizer_step": 6,
    "on_step_end": 6,  # W29
    "on_log": 6 + 3 + 1,  # the steps', the evaluations', and that of the end
    "on_prediction_step": 3,
    "on_evaluate": 3,
    "on_save": 6,  # W28
    "on_epoch_end": 2,  # W29
}


@pytest.mark.parametrize("is_first", [True, False])
def test_the_time_of_a_trainers_other_callbacks_is_neither_step_nor_wait(tmp_path: Path, late: Late, is_first: bool) -> None:
    other = slow(TrainerCallback, TRAINER_EVENTS, late)
    listed = [callback(tmp_path), other] if is_first else [other, callback(tmp_path)]
    options: dict[str, Any] = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "logging_steps": 1}
    options |= {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 1, "save_only_model": True}
    trainer(tmp_path, *listed, num_rows=6, num_train_epochs=2, **options).train()
    made = only_record(tmp_path / "runs")
    assert made.proof.num_steps == 6
    assert hours_of_others(made) == pytest.approx(sum(TRAINER_EVENTS.values()), abs=0.01)


def test_a_checkpoint_that_is_slow_to_write_is_no_wait_for_data(tmp_path: Path, late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(tmp_path, callback(tmp_path), num_rows=6, save_strategy="steps", save_steps=1)
    monkeypatch.setattr(made, "_save_checkpoint", lambda *_, **__: late.__setitem__(0, late[0] + HOUR_S))
    made.train()
    assert hours_of_others(only_record(tmp_path / "runs")) == pytest.approx(3, abs=0.01)


class SlowTexts(IterableDataset):  # type: ignore[type-arg]
    """Rows that take an hour each."""

    def __init__(self, late: Late, count: int) -> None:
        self._late, self._count = late, count

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        (batch,) = batches(1, rows=1)
        for _ in range(self._count):
            self._late[0] += HOUR_S
            yield {name: values[0] for name, values in batch.items()}


def test_a_slow_loader_is_a_wait_for_data_in_a_trainer(tmp_path: Path, late: Late) -> None:
    made = trainer(tmp_path, callback(tmp_path), max_steps=3)
    made.train_dataset = SlowTexts(late, 8)
    made.train()
    seen = only_record(tmp_path / "runs")
    # An IterableDataset is read one batch ahead: two batches of two rows before the first step.
    assert seen.proof.watched.data_wait_s == pytest.approx((4 * HOUR_S, 2 * HOUR_S, 2 * HOUR_S), abs=10)
    assert sum(seen.proof.watched.others_s) < 10
    assert "DataWait" in {finding.code for finding in seen.warnings}


def fit(late: Late, out: Path, *callbacks: Any, accumulate: int = 1, data: Any = None, **options: Any) -> Measurement:
    """Six batches through Lightning's Trainer."""
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(8, 2)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.net(batch).pow(2).mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            late[0] += HOUR_S

        def on_save_checkpoint(self, checkpoint: Any) -> None:
            late[0] += HOUR_S

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    fixed = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    fixed |= {"enable_checkpointing": False, "accumulate_grad_batches": accumulate, "default_root_dir": out, "callbacks": list(callbacks)}
    lightning.Trainer(**(fixed | options)).fit(Module(), DataLoader(torch.randn(12, 8), batch_size=2) if data is None else data)
    return only_record(out / "runs")


LIGHTNING_EVENTS = {
    # Event -> how often, by hand: 3 steps of 2 batches.
    "on_train_batch_start": 6,
    "on_before_backward": 6,
    "on_after_backward": 6,
    "on_before_optimizer_step": 3,
    "on_before_zero_grad": 3,
    "on_train_batch_end": 6,
    "on_train_epoch_end": 1,
}


@pytest.mark.parametrize("is_first", [True, False])
def test_the_time_of_lightnings_other_callbacks_is_neither_step_nor_wait(tmp_path: Path, late: Late, is_first: bool) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")
    own = lightning_callback(out=tmp_path / "runs", every=0, ceilings=CEILINGS)
    other = slow(lightning.Callback, LIGHTNING_EVENTS, late)
    made = fit(late, tmp_path, *([own, other] if is_first else [other, own]), accumulate=2)
    assert made.proof.num_steps == 3
    assert hours_of_others(made) == pytest.approx(sum(LIGHTNING_EVENTS.values()), abs=0.01)


def test_a_checkpoint_of_lightning_which_is_always_called_last_is_no_wait(tmp_path: Path, late: Late) -> None:  # W30
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")
    own = lightning_callback(out=tmp_path / "runs", every=0, ceilings=CEILINGS)
    saver = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path / "checkpoints", every_n_train_steps=1, save_top_k=-1)
    made = fit(late, tmp_path, own, saver, enable_checkpointing=True)
    assert hours_of_others(made) >= 6 - 0.01  # some versions save once more at the end of the epoch


def test_a_slow_loader_is_a_wait_for_data_in_lightning(tmp_path: Path, late: Late) -> None:
    pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")

    class Slow(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[torch.Tensor]:
            for _ in range(6):
                late[0] += HOUR_S
                yield torch.randn(2, 8)

    own = lightning_callback(out=tmp_path / "runs", every=0, ceilings=CEILINGS)
    made = fit(late, tmp_path, own, data=DataLoader(Slow(), batch_size=None), accumulate=2)
    # Lightning loads one batch ahead, the first before anything is told; by two batches a step.
    assert sum(made.proof.watched.data_wait_s) == pytest.approx(5 * HOUR_S, abs=10)
    assert max(made.proof.watched.others_s) < 10


def test_a_line_takes_nothing_from_the_figures_of_somebodys_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
    watched = watch(batches(4), tiny_model(), out=tmp_path, every=1, ceilings=CEILINGS)
    seen = [watched.figures().keys() for _ in watched]
    assert all("tokens_per_s" in figures for figures in seen[2:])


class TestPlainLoops:
    def test_a_pause_inside_a_step_is_no_part_of_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("time.perf_counter", lambda: now[0])
        watched = watch(batches(4), tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS, accumulate=2)
        for _ in watched:
            now[0] += 1.0
            with watched.pause():
                now[0] += 100.0
        made = only_record(tmp_path)
        assert steps_s(made) == (2.0, 2.0)
        assert made.proof.watched.others_s == (200.0, 200.0)
        assert made.proof.watched.data_wait_s == (0.0, 0.0)

    def test_a_pause_that_an_error_ends_is_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("time.perf_counter", lambda: now[0])

        def evaluate() -> None:
            now[0] += 100.0
            raise ValueError("evaluation")

        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for batch in batches(2):
                with w.step(batch):
                    with pytest.raises(ValueError, match="evaluation"), w.pause():
                        evaluate()
                    now[0] += 1.0
        assert steps_s(only_record(tmp_path)) == (1.0, 1.0)

    def test_what_lies_between_two_steps_and_is_paused_is_of_others(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("time.perf_counter", lambda: now[0])
        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for batch in batches(3):
                now[0] += 0.5  # loading
                with w.step(batch):
                    now[0] += 1.0
                with w.pause():
                    now[0] += 100.0
        made = only_record(tmp_path)
        assert made.proof.watched.data_wait_s == (0.0, 0.5, 0.5)
        assert made.proof.watched.others_s == (0.0, 100.0, 200.0)  # the last step has what came before and after it
        assert steps_s(made) == (1.0, 1.5, 1.5)

    def test_report_shows_the_time_of_others(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for batch in batches(3):
                with w.step(batch):
                    pass
        (path,) = tmp_path.glob("*.json")
        main(["report", str(path), "-v"])
        assert "saving, evaluation and other callbacks, beside the steps" in capsys.readouterr().out


class TestWatchedMethods:
    class Loop:
        def step(self) -> str:
            """A step."""
            return "stepped"

    def test_a_method_is_watched_on_one_object_and_put_back(self) -> None:
        one, other, seen, methods = self.Loop(), self.Loop(), [], WatchedMethods()
        assert methods.watch(one, "step", lambda method: lambda: (seen.append(1), method())[1])
        assert (one.step(), other.step(), seen, one.step.__doc__) == ("stepped", "stepped", [1], "A step.")
        methods.put_back()
        assert "step" not in vars(one)

    def test_what_a_user_had_put_there_comes_back(self) -> None:
        loop, methods = self.Loop(), WatchedMethods()
        loop.step = mine = lambda: "mine"  # type: ignore[method-assign]
        methods.watch(loop, "step", lambda method: lambda: method() + "!")
        assert loop.step() == "mine!"
        methods.put_back()
        assert loop.step is mine

    def test_what_somebody_wrapped_again_stays(self) -> None:
        loop, methods = self.Loop(), WatchedMethods()
        methods.watch(loop, "step", lambda method: lambda: method())
        loop.step = theirs = lambda: "theirs"  # type: ignore[method-assign]
        methods.put_back()
        assert loop.step is theirs

    def test_an_object_without_the_method_is_left_alone(self) -> None:
        assert not WatchedMethods().watch(self.Loop(), "run", lambda method: method)
        assert not WatchedMethods().watch(None, "run", lambda method: method)
