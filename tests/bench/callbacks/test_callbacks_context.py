"""Watch as a context manager: tokens told, autocast, pauses, accelerate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.callbacks import Watch
from estimators.errors import BadValueError
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import Training, batches, only_record, run, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class TestContext:
    def test_tokens_may_be_told_in_place_of_a_batch(self, tmp_path: Path) -> None:
        model, data = tiny_model(), batches(1)[0]
        training = Training(model)
        with Watch(model, out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for _ in range(4):
                with w.step(tokens=30, padding=2, seq_len=16):
                    w.loss(training.step(data))
        made = only_record(tmp_path)
        assert made.proof.num_tokens == 120
        assert made.estimate.phases["train_step"].flop == run(tmp_path / "b", batches(2)).estimate.phases["train_step"].flop

    def test_without_a_length_flop_are_unavailable_and_say_why(self, tmp_path: Path) -> None:
        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for _ in range(3):
                with w.step(tokens=32):
                    pass
        made = only_record(tmp_path)
        assert made.unavailable["training_flop"] == "no seq_len was given"
        assert made.proof.watched.training_flop is None

    @pytest.mark.parametrize("told", [{"tokens": -1}, {"tokens": 30, "seq_len": 16}, {"tokens": 0}, {"tokens": 30, "padding": -1}])
    def test_counts_that_do_not_fit_are_refused(self, tmp_path: Path, told: dict[str, int]) -> None:
        with pytest.raises(BadValueError, match="expected counts from 0"), Watch(tiny_model(), out=tmp_path).step(**told):
            pass

    def test_a_step_of_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadValueError, match="neither a batch nor tokens"), Watch(tiny_model(), out=tmp_path).step():
            pass

    def test_the_dtype_of_autocast_is_seen(self, tmp_path: Path) -> None:
        model = tiny_model()
        with Watch(model, out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for batch in batches(3):
                with w.step(batch), torch.autocast("cpu", dtype=torch.bfloat16):
                    model(**batch)
        made = only_record(tmp_path)
        assert (made.request.dtype, made.request.dtype_reason) == ("bf16", "autocast")

    def test_accelerates_accumulation_and_precision_are_taken(self, tmp_path: Path) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, mixed_precision="bf16")
        try:
            model = tiny_model()
            model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
            with Watch(model, accelerator, out=tmp_path, every=0, ceilings=CEILINGS) as w:
                for batch in batches(6):
                    with w.step(batch), accelerator.accumulate(model):
                        loss = model(**batch).loss
                        accelerator.backward(loss)
                        optimizer.step()
                        optimizer.zero_grad()
                        w.loss(loss)
        finally:
            GradientState._reset_state()
            AcceleratorState._reset_state(reset_partial_state=True)
        made = only_record(tmp_path)
        assert (made.proof.num_steps, made.proof.num_tokens, made.request.dtype) == (3, 6 * 32, "bf16")
        assert failed_by_itself(made) == ()
