"""Lightning's events under watch: by a Trainer made by hand, and by the real one where Lightning is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from bench.callbacks import lightning, lightning_callback
from bench.callbacks.lightning import LightningHooks
from bench.records.record import Measurement
from estimators.errors import UnavailableError
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import Training, batches, only_record, tiny_model


class Logger:
    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.logged.append((step, metrics))


def fit(tmp_path: Path, *, accumulate: int = 1, num_batches: int = 8, every: int = 2, broken: BaseException | None = None) -> Logger:
    """The events of Lightning's fit loop in its order: a validation in the middle, and an error at the end where one is asked for."""
    model, logger = tiny_model(), Logger()
    training = Training(model)
    trainer = SimpleNamespace(accumulate_grad_batches=accumulate, precision="32-true", loggers=[logger], global_step=0, is_last_batch=False)
    hooks = LightningHooks(out=tmp_path, every=every, ceilings=CEILINGS)
    hooks.on_train_start(trainer, model)
    for number, batch in enumerate(batches(num_batches)):
        hooks.on_train_batch_start(trainer, model, batch, number)
        trainer.is_last_batch = number == num_batches - 1
        loss = training.step(batch)
        trainer.global_step = (number + 1) // accumulate
        hooks.on_train_batch_end(trainer, model, {"loss": loss}, batch, number)
        if number == 3:
            hooks.on_validation_start(trainer, model)
            hooks.on_validation_end(trainer, model)
    if broken is None:
        hooks.on_train_end(trainer, model)
    else:
        hooks.on_exception(trainer, model, broken)
    return logger


def test_its_events_leave_a_record_whose_checks_hold(tmp_path: Path) -> None:
    logger = fit(tmp_path)
    made = only_record(tmp_path)
    assert failed_by_itself(made) == ()
    assert (made.status, made.proof.num_steps, made.proof.num_tokens) == ("complete", 8, 8 * 32)
    assert [step for step, _ in logger.logged] == [2, 4, 6, 8]
    assert all(metrics["tokens_per_s"] > 0 for _, metrics in logger.logged)


def test_accumulated_batches_are_one_step_and_the_last_may_be_short(tmp_path: Path) -> None:
    fit(tmp_path, accumulate=3)
    assert only_record(tmp_path).proof.watched.tokens_per_step == (96, 96, 64)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(KeyboardInterrupt(), "partial", "interrupted by the user"), (ValueError("broken\nhere"), "failed", "ValueError: broken here")],
)
def test_a_training_that_breaks_off_leaves_its_record(tmp_path: Path, error: BaseException, status: str, reason: str) -> None:
    fit(tmp_path, broken=error)
    made = only_record(tmp_path)
    assert (made.status, made.status_reason, made.proof.num_steps) == (status, reason, 8)


def test_without_lightning_the_callback_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    lightning._callback_class.cache_clear()
    with pytest.raises(UnavailableError, match="Lightning is not installed; install it with: pip install lightning"):
        lightning_callback()


def real_fit(package: Any, tmp_path: Path, make: Callable[..., Any]) -> Measurement:
    class Module(package.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = tiny_model()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.model(**batch).loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.model(**batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    callback = make(out=tmp_path / "runs", every=2, ceilings=CEILINGS, network=lambda module: module.model)
    package.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        accumulate_grad_batches=2, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(Module(), DataLoader(batches(7), batch_size=None), DataLoader(batches(2), batch_size=None))  # fmt: skip
    return only_record(tmp_path / "runs")


def test_the_real_trainer_leaves_a_record_whose_checks_hold(tmp_path: Path) -> None:
    package = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")
    made = real_fit(package, tmp_path, lightning_callback)
    assert failed_by_itself(made) == ()
    assert made.proof.watched.tokens_per_step == (64, 64, 64, 32)
    assert {count.route for count in made.counts} == {"op table"}
