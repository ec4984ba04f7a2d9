"""The loss shown is the loss trained: under accumulation, whoever divides it, in the record and in the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from bench.callbacks import Watch, lightning_callback, watch
from bench.callbacks.loss_parts import was_divided
from tests.support.tiny_models import CEILINGS
from tests.support.trainings_by_trainer import callback
from tests.support.watched_trainings import only_record, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


def texts(count: int = 16) -> list[dict[str, torch.Tensor]]:
    """Rows whose labels are of unlike number, so that a mean of means is not the mean over all."""
    rows = []
    for number in range(count):
        ids = torch.randint(0, 128, (12,), generator=torch.Generator().manual_seed(number))
        labels = ids.clone()
        labels[: number % 9] = -100
        rows.append({"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)})
    return rows


def classifier() -> nn.Module:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 128}
    return BertForSequenceClassification(BertConfig(**small, num_labels=3))


class TwiceTheLoss(Trainer):
    """Trains on another loss than the one that forward returns."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        found = super().compute_loss(model, inputs, return_outputs=return_outputs, **kwargs)
        return (2 * found[0], found[1]) if return_outputs else 2 * found


def summed(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    found = nn.functional.cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten(), reduction="sum")
    return found / num_items_in_batch


@pytest.mark.parametrize(
    ("kind", "options", "more"),
    [
        (Trainer, {}, {}),  # W23: the model divides by the tokens of the whole step
        (Trainer, {"label_smoothing_factor": 0.1}, {}),  # not the loss that forward returned
        (Trainer, {"average_tokens_across_devices": False}, {"compute_loss_func": summed}),
        (TwiceTheLoss, {}, {}),
        (Trainer, {"gradient_accumulation_steps": 1}, {}),
        (Trainer, {"num_train_epochs": 2, "per_device_train_batch_size": 3}, {}),  # the last step of an epoch is short
    ],
)
def test_the_record_holds_what_a_trainer_logs(tmp_path: Path, kind: Any, options: dict[str, Any], more: dict[str, Any]) -> None:
    fixed: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    fixed |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 1, "learning_rate": 1e-3}
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"), **(fixed | options))
    made = kind(model=tiny_model(), args=arguments, train_dataset=texts(), callbacks=[callback(tmp_path)], **more)
    made.train()
    logged = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert len(logged) >= 2
    # fp32 sums of the same parts in another order
    assert only_record(tmp_path / "runs").proof.watched.losses == pytest.approx(logged, rel=1e-6)


def test_the_loss_of_a_classifier_that_the_trainer_divides_is_whole(tmp_path: Path) -> None:
    rows = [{"input_ids": row["input_ids"], "labels": torch.tensor(number % 3)} for number, row in enumerate(texts())]
    fixed: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=2, gradient_accumulation_steps=4, num_train_epochs=1, **fixed
    )
    made = Trainer(model=classifier(), args=arguments, train_dataset=rows, callbacks=[callback(tmp_path)])  # type: ignore[arg-type]
    made.train()
    logged = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert only_record(tmp_path / "runs").proof.watched.losses == pytest.approx(logged, rel=1e-6)


def test_a_trainers_methods_are_its_own_again_when_it_has_ended(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True, report_to=[], disable_tqdm=True, max_steps=2)
    made = Trainer(model=tiny_model(), args=arguments, train_dataset=texts(), callbacks=[callback(tmp_path)])  # type: ignore[arg-type]
    made.train()
    assert not {"training_step", "get_batch_samples"} & vars(made).keys()
    assert "call_event" not in vars(made.callback_handler)


SHARE = {"undivided": lambda loss: loss, "divided": lambda loss: loss / 4, "times a quarter": lambda loss: loss * 0.25}


@pytest.mark.parametrize("given_after_backward", [True, False])
@pytest.mark.parametrize("share", SHARE)
def test_a_loop_that_divides_its_loss_and_one_that_does_not_show_the_same(tmp_path: Path, share: str, given_after_backward: bool) -> None:
    model = nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    rows = [torch.full((4, 8), float(number)) for number in range(8)]
    wholes = [float(model(x).pow(2).mean().detach()) for x in rows]
    for number, x in enumerate(watched := watch(rows, model, out=tmp_path, every=0, ceilings=CEILINGS, accumulate=4)):
        loss = SHARE[share](model(x).pow(2).mean())
        if not given_after_backward:
            watched.loss(loss)
        loss.backward()
        if given_after_backward:
            watched.loss(loss)
        if number % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    expected = (sum(wholes[:4]) / 4, sum(wholes[4:]) / 4)
    assert only_record(tmp_path).proof.watched.losses == pytest.approx(expected, rel=1e-6)


def test_numbers_that_are_parts_are_said_to_be(tmp_path: Path) -> None:
    with Watch(nn.Linear(8, 2), out=tmp_path, every=0, ceilings=CEILINGS, accumulate=2) as w:
        for value in (1.0, 2.0, 3.0, 4.0):
            with w.step(torch.zeros(4, 8)):
                w.loss(value / 2, part=True)
    assert only_record(tmp_path).proof.watched.losses == (1.5, 3.5)


def test_accelerates_accumulation_shows_the_mean_of_its_batches(tmp_path: Path) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    wholes = []
    try:
        model = nn.Linear(8, 2)
        prepared, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
        with Watch(prepared, accelerator, out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for number in range(4):
                x = torch.full((4, 8), float(number))
                with w.step(x), accelerator.accumulate(prepared):
                    loss = prepared(x).pow(2).mean()
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    w.loss(loss)
                    wholes.append(loss.item())
    finally:
        GradientState._reset_state()
        AcceleratorState._reset_state(reset_partial_state=True)
    expected = ((wholes[0] + wholes[1]) / 2, (wholes[2] + wholes[3]) / 2)
    assert only_record(tmp_path).proof.watched.losses == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("automatic", [True, False])
def test_lightnings_accumulation_shows_what_training_step_returned(tmp_path: Path, automatic: bool) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is an optional dependency")
    wholes: list[float] = []

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(8, 2)
            self.automatic_optimization = automatic

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.net(batch).pow(2).mean()
            wholes.append(loss.item())
            if not automatic:
                self.manual_backward(loss)
                self.optimizers().step()
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    num_batches = 3 if automatic else 1
    fixed = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    own = lightning_callback(out=tmp_path / "runs", every=0, ceilings=CEILINGS)
    made = lightning.Trainer(
        callbacks=[own], accumulate_grad_batches=num_batches, enable_checkpointing=False, default_root_dir=tmp_path, **fixed
    )
    made.fit(Module(), DataLoader(torch.randn(14, 8), batch_size=2))
    steps = [wholes[at : at + num_batches] for at in range(0, 7, num_batches)]  # the last one is short
    expected = [sum(step) / len(step) for step in steps]
    assert only_record(tmp_path / "runs").proof.watched.losses == pytest.approx(expected, rel=1e-6)


def test_the_line_shows_the_loss_of_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("bench.callbacks.console.LEAST_LINE_S", 0.0)
    model = nn.Linear(8, 2)
    watched = watch([torch.ones(4, 8)] * 8, model, out=tmp_path, every=1, ceilings=CEILINGS, accumulate=4)
    for x in watched:
        watched.loss(model(x).pow(2).mean() / 4)
    losses = only_record(tmp_path).proof.watched.losses
    assert f"loss {losses[0]:.4g}" in capsys.readouterr().err


def test_a_mean_over_tokens_is_not_taken_for_a_division_by_the_batches() -> None:
    scores = torch.ones(3, requires_grad=True)
    whole = scores.sum() / 4  # 4 tokens, in steps of 2 batches
    assert not was_divided(whole, 2)
    whole.backward()  # type: ignore[no-untyped-call]
    assert not was_divided(whole, 4)  # the divisor is freed, and a sum is rather divided by its tokens
