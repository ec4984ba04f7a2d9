"""The options of watch, Watch and the callbacks: the same words everywhere, what was asked is recorded."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.callbacks import SixndCallback, Watch, lightning_callback, options, watch
from bench.callbacks.lightning import LightningHooks
from tests.support.loops_of_ones_own import flop, named, squares, train, usual_step
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import trainer
from tests.support.watched_trainings import batches, only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

EVERYWHERE = {"out", "every", "name", "inputs", "forward", "size", "ceilings"}
OF_A_LOOP = {"accelerator", "dtype", "optimizer", "accumulate", "steps"}
"""What Trainer and Lightning tell by themselves."""

OF_HOOKS = {"guard", "compiled"}
"""What a hook that makes a Watch tells it."""


def words(of: Any) -> set[str]:
    return set(inspect.signature(of).parameters) - {"self", "model", "loader", "options"}


def test_the_same_words_everywhere() -> None:
    assert words(Watch.__init__) == EVERYWHERE | OF_A_LOOP | OF_HOOKS
    assert words(SixndCallback.__init__) == EVERYWHERE
    assert words(LightningHooks.__init__) == EVERYWHERE | {"network"}
    # The loop hands the rest on to Watch.
    assert "options" in inspect.signature(watch).parameters
    assert words(watch) <= words(Watch.__init__)


def test_inputs_are_told_once_to_have_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options._tell_of_inputs.cache_clear()
    Watch(torch.nn.Linear(8, 2), out=tmp_path, inputs=lambda batch: batch)
    SixndCallback(out=tmp_path, inputs=lambda batch: batch)
    LightningHooks(out=tmp_path, inputs=lambda batch: batch)
    told = capsys.readouterr().err
    assert told.count("inputs= has no effect") == 1
    Watch(torch.nn.Linear(8, 2), out=tmp_path)
    assert not capsys.readouterr().err


class TestAskedSteps:
    def test_of_a_loop(self, tmp_path: Path) -> None:
        data = [torch.ones(4, 8)] * 6
        made = train(tmp_path / "some", torch.nn.Linear(8, 2), data, steps=3)
        assert (made.request.steps, made.proof.num_steps, made.status) == (3, 3, "complete")
        assert train(tmp_path / "all", torch.nn.Linear(8, 2), data).request.steps is None

    def test_of_trainer(self, tmp_path: Path) -> None:
        for asked in (2, -1):
            folder = tmp_path / str(asked)
            trainer(folder, SixndCallback(out=folder / "runs", ceilings=CEILINGS), num_rows=6, max_steps=asked).train()
            made = only_record(folder / "runs")
            assert (made.request.steps, made.proof.num_steps) == ((2, 2) if asked == 2 else (None, 3))

    def test_of_lightning(self, tmp_path: Path) -> None:
        lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")

        class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = torch.nn.Linear(8, 2)

            def training_step(self, batch: Any, number: int) -> Any:
                return squares(self.net, batch)

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        quiet: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        own = lightning_callback(out=tmp_path / "runs", every=0, ceilings=CEILINGS)
        made = lightning.Trainer(callbacks=[own], max_steps=3, enable_checkpointing=False, default_root_dir=tmp_path, **quiet)
        made.fit(Module(), torch.utils.data.DataLoader(torch.ones(16, 8), batch_size=2))
        record = only_record(tmp_path / "runs")
        assert (record.request.steps, record.proof.num_steps) == (3, 3)


def test_a_function_of_a_step_counts_in_trainer_as_in_a_loop(tmp_path: Path) -> None:
    callback = SixndCallback(out=tmp_path / "trainer", ceilings=CEILINGS, forward=named)
    trainer(tmp_path, callback, num_rows=6, per_device_train_batch_size=2).train()
    made = only_record(tmp_path / "trainer")
    rows = [{"input_ids": b["input_ids"], "labels": b["labels"]} for b in batches(3)]
    alone = train(tmp_path / "loop", tiny_model(), rows, usual_step(named), forward=named)
    assert (made.proof.num_steps, made.proof.num_tokens, made.proof.num_padding) == (3, 3 * 2 * 14, 3 * 2 * 2)
    assert flop(made)[0] == flop(alone)[0] is not None
