"""What proves that a watched training trained: losses and parameters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.callbacks import watch
from bench.callbacks.proof import scalar_loss
from bench.records.record import Measurement
from estimators.errors import BadValueError
from reports.checks.crosscheck import crosscheck, failed
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import Training, batches, only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class TestProof:
    def failures(self, made: Measurement) -> set[str]:
        """Those of the training; how far a busy machine spreads a few steps of milliseconds is none."""
        return {check.metric for check in failed(crosscheck(made)) if "spread" not in check.metric}

    def test_a_loop_without_an_optimizer_step_is_flagged(self, tmp_path: Path) -> None:
        model = tiny_model().eval()  # no dropout: the loss of one batch stays the same
        watched = watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for batch in watched:
            watched.loss(model(**batch).loss)
        assert self.failures(only_record(tmp_path)) == {"parameters changed", "loss is finite and falls"}

    def test_a_tensor_that_no_optimizer_holds_is_flagged_unless_it_is_frozen(self, tmp_path: Path) -> None:
        for frozen, flagged in ((False, {"parameters changed"}), (True, set())):
            model = tiny_model()
            left, *others = model.parameters()
            left.requires_grad_(not frozen)
            adamw = torch.optim.AdamW(others, lr=1e-2)
            watched = watch(batches(6), model, out=tmp_path / str(frozen), every=0, ceilings=CEILINGS)
            for batch in watched:
                loss = model(**batch).loss
                loss.backward()
                adamw.step()
                adamw.zero_grad()
                watched.loss(loss)
            assert self.failures(only_record(tmp_path / str(frozen))) == flagged

    def test_a_loss_that_is_no_number_is_flagged(self, tmp_path: Path) -> None:
        model = tiny_model()
        training, watched = Training(model), watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for number, batch in enumerate(watched):
            watched.loss(training.step(batch) * (math.nan if number == 3 else 1.0))
        made = only_record(tmp_path)
        assert self.failures(made) == {"loss is finite and falls"}
        assert made.proof.loss_finite is False

    def test_parameters_that_became_no_numbers_are_flagged_without_a_loss(self, tmp_path: Path) -> None:
        model = tiny_model()
        training = Training(model, learning_rate=math.inf)
        for batch in watch(batches(3), model, out=tmp_path, every=0, ceilings=CEILINGS):
            training.step(batch)
        assert "loss is finite and falls" in self.failures(only_record(tmp_path))

    def test_a_loss_that_rises_is_flagged(self, tmp_path: Path) -> None:
        model = tiny_model()
        training, watched = Training(model), watch(batches(8), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for number, batch in enumerate(watched):
            training.step(batch)
            watched.loss(float(number))
        assert self.failures(only_record(tmp_path)) == {"loss is finite and falls"}

    @pytest.mark.parametrize(
        ("value", "complaint"), [(torch.ones(2), "a loss of shape"), ("1.0", "a loss of type str"), (True, "type bool")]
    )
    def test_what_is_no_loss_costs_the_loss_and_not_the_training(self, tmp_path: Path, value: Any, complaint: str) -> None:
        watched = watch(batches(2), tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in watched:
            watched.loss(value)
        made = only_record(tmp_path)
        assert made.proof.num_steps == 2
        assert complaint in made.unavailable["loss"]
        with pytest.raises(BadValueError, match=complaint):
            scalar_loss(value)

    @pytest.mark.parametrize("value", [np.float32(1.5), np.float64(1.5), np.array([1.5]), np.array(1.5), torch.tensor([1.5]).numpy()])
    def test_a_loss_of_numpy_is_taken(self, tmp_path: Path, value: Any) -> None:
        watched = watch(batches(2), tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in watched:
            watched.loss(value)
        assert only_record(tmp_path).proof.watched.losses == (1.5, 1.5)
