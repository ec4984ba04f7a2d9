"""transformers' Trainer under watch: one record, exact tokens, logs that gain the rates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from bench.cli.main import main
from reports.checks.crosscheck import crosscheck, failed
from tests.support.quiet_machine import failed_by_itself
from tests.support.trainings_by_trainer import callback, trainer
from tests.support.watched_trainings import only_record

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_trainer_leaves_a_record_that_passes_and_that_report_and_compare_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, callback(tmp_path)).train()
    made = only_record(tmp_path / "runs")
    assert made.status == "complete"
    assert failed_by_itself(made) == ()
    # By hand: 24 rows of 16 positions, 2 of them padding, in steps of 2 rows.
    assert (made.proof.num_steps, made.proof.num_tokens) == (12, 24 * 14)
    assert made.proof.watched.padding_per_step == (4,) * 12
    assert {count.route for count in made.counts} == {"op table"}
    capsys.readouterr()
    assert main(["report", str(tmp_path / "runs"), "-v"]) == 0
    trainer(tmp_path, callback(tmp_path)).train()
    capsys.readouterr()
    newest, *_ = sorted((tmp_path / "runs").glob("*.json"), reverse=True)
    assert main(["compare", str(tmp_path / "runs"), str(newest)]) in (0, 1), "one of these tiny trainings may well have been slower"
    assert re.search(r"SAME|FASTER|SLOWER|AMBIGUOUS", capsys.readouterr().out)


def test_accumulated_batches_are_one_step_and_the_last_step_of_an_epoch_is_short(tmp_path: Path) -> None:
    trainer(tmp_path, callback(tmp_path), num_rows=10, gradient_accumulation_steps=2, num_train_epochs=2).train()
    made = only_record(tmp_path / "runs")
    assert made.proof.watched.tokens_per_step == (56, 56, 28) * 2


def test_an_evaluation_is_neither_tokens_nor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowEvaluation(TrainerCallback):
        """An hour passes on the watch's clock during every evaluation."""

        def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            late[0] += 3600.0

    import time

    late, real = [0.0], time.perf_counter
    monkeypatch.setattr("bench.callbacks.watcher.time.perf_counter", lambda: real() + late[0])
    trainer(tmp_path, callback(tmp_path), SlowEvaluation(), eval_strategy="steps", eval_steps=3).train()
    made = only_record(tmp_path / "runs")
    assert late[0] >= 4 * 3600
    assert made.proof.num_tokens == 24 * 14
    phase = made.phase("train_step")
    assert phase is not None
    assert max(phase.samples_s) < 3600
    assert max(made.proof.watched.data_wait_s) < 3600


def test_logs_gain_the_rates_and_a_reporter_after_it_sees_them(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Reporter(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            seen.append(dict(logs))

    watching = callback(tmp_path)
    made = trainer(tmp_path, Reporter(), watching)
    watching.attach(made)
    made.train()
    expected = {"tokens_per_s", "data_wait_fraction", "step_s", "memory_bytes", "matmul_ceiling_fraction", "padding_fraction"}
    logged = [entry for entry in made.state.log_history if "loss" in entry]
    assert len(logged) == 6
    assert all(expected <= entry.keys() for entry in logged)
    assert all(expected <= entry.keys() for entry in seen if "loss" in entry)
    assert logged[-1]["padding_fraction"] == pytest.approx(2 / 16)


def test_a_training_that_breaks_off_leaves_a_partial_record(tmp_path: Path) -> None:
    class Interrupted(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                raise KeyboardInterrupt

    watching = callback(tmp_path)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        trainer(tmp_path, watching, Interrupted()).train()
    watching.break_off()  # as at the end of the process
    made = only_record(tmp_path / "runs")
    assert (made.status, made.proof.num_steps) == ("partial", 5)
    assert "broken off" in made.status_reason


def test_a_trainer_whose_loss_is_no_number_is_flagged_although_it_hides_it(tmp_path: Path) -> None:
    made = trainer(tmp_path, callback(tmp_path), learning_rate=1e30, max_grad_norm=0.0)
    made.train()
    assert "loss is finite and falls" in {check.metric for check in failed(crosscheck(only_record(tmp_path / "runs")))}


def test_two_trainings_leave_two_records(tmp_path: Path) -> None:
    watching = callback(tmp_path)
    for _ in range(2):
        trainer(tmp_path, watching, max_steps=3).train()
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2
