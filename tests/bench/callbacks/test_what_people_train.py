"""Trainer, TRL's SFTTrainer with LoRA, Lightning and a plain loop: FLOP, tokens and loss are those of independent witnesses.

FLOP: torch.utils.flop_counter around the same training of the same model without the meters, with eager attention. Tokens:
what Trainer itself counts, or the batches that were made. Loss: the log of the trainer beside it, or the loop's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainingArguments

from bench.callbacks import SixndCallback, lightning_callback, watch
from bench.records.record import Measurement
from tests.support.small_llamas import LLAMA_FLOP, ROWS, Texts, batch, llama
from tests.support.watched_trainings import only_record
from tests.support.word_tokenizer import word_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 4
LORA_FLOP = 25_821_184
"""Of four steps of LoRA (r 4 on q and v), by torch's counter on the real model."""


def lora() -> Any:
    peft = pytest.importorskip("peft")
    return peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def eager() -> Any:
    return llama(attn_implementation="eager")


@contextlib.contextmanager
def torchs_counter() -> Iterator[FlopCounterMode]:
    with FlopCounterMode(display=False) as counter:
        yield counter


class Witness:
    """FLOP, tokens and losses of a training that nothing of ours looked at."""

    def __init__(self, flop: int, tokens: int, losses: list[float]) -> None:
        self.flop, self.tokens, self.losses = flop, tokens, losses

    def agrees_with(self, record: Measurement, tolerance: float = 1e-6) -> None:  # a counter takes some operators apart

        proof = record.proof
        assert (proof.watched.training_flop, proof.num_tokens) == (self.flop, self.tokens)
        assert proof.watched.losses == pytest.approx(self.losses, abs=tolerance)


def by_trainer(kind: Any, model: Any, arguments: Any, folder: Path, **options: Any) -> tuple[Witness, Measurement]:
    """The same training twice: with torch's counter and without us, then watched."""
    with torchs_counter() as counter:
        alone = kind(model(), arguments(), **options)
        alone.train()
    losses = [line["loss"] for line in alone.state.log_history if "loss" in line]
    watched = kind(model(), arguments(), callbacks=[SixndCallback(out=folder, ceilings=False)], **options)
    watched.train()
    return Witness(counter.get_total_flops(), alone.state.num_input_tokens_seen, losses), only_record(folder)


def arguments(folder: Path, kind: Any = TrainingArguments, **more: Any) -> Callable[[], Any]:
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "max_steps": STEPS}
    fixed = {"per_device_train_batch_size": ROWS, "include_num_input_tokens_seen": "all", "learning_rate": 1e-3}
    return lambda: kind(output_dir=str(folder / "out"), **(quiet | fixed | more))


def adapted() -> Any:
    return pytest.importorskip("peft").get_peft_model(eager(), lora())


ROUNDED = 5e-5
"""Trainer logs four digits behind the point."""


@pytest.mark.parametrize("adapter", [False, True])
def test_trainer(adapter: bool, tmp_path: Path) -> None:
    witness, record = by_trainer(Trainer, adapted if adapter else eager, arguments(tmp_path), tmp_path / "runs", train_dataset=Texts())
    assert witness.flop == (LORA_FLOP if adapter else STEPS * LLAMA_FLOP)
    print(record.unavailable)
    witness.agrees_with(record, ROUNDED)


def test_lora_in_trainer_with_checkpoints(tmp_path: Path) -> None:
    """What is computed again is the hardware's: `full` stays, and torch's counter sees the whole."""
    options = arguments(tmp_path, gradient_checkpointing=True)
    witness, record = by_trainer(Trainer, adapted, options, tmp_path / "runs", train_dataset=Texts())
    assert record.proof.watched.training_flop == LORA_FLOP
    assert witness.flop > LORA_FLOP


def test_sft_trainer_with_lora(tmp_path: Path) -> None:
    """Its fused head takes the 15 positions of a row that bear a loss, and adds the gradient of its input in place.

    torch's counter has no formula for a product that is added in place: 2·60·32·64 a step beside what it saw. By hand: LoRA's
    step, less the head's two products of 64 tokens, and three of 60: forward, again, and back.
    """
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    rows = [{name: value.tolist() for name, value in Texts()[i].items()} for i in range(STEPS * ROWS)]
    as_they_are = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    options = arguments(tmp_path, trl.SFTConfig, gradient_checkpointing=False, **as_they_are)
    data = datasets.Dataset.from_list(rows)
    more = {"train_dataset": data, "peft_config": lora(), "processing_class": word_tokenizer()}
    witness, record = by_trainer(trl.SFTTrainer, eager, options, tmp_path / "runs", **more)
    head = 2 * 32 * 64
    if witness.flop != LORA_FLOP:  # else a version of trl without the fused head
        witness.flop += STEPS * 60 * head
        assert witness.flop == LORA_FLOP + STEPS * (3 * 60 - 2 * 64) * head
    witness.agrees_with(record, ROUNDED)


def data() -> list[dict[str, Any]]:
    return [batch()] * STEPS


def plain_loop(model: Any, batches: Any) -> list[float]:
    optimizer, losses = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3), []
    for given in batches:
        loss = model(**given).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if hasattr(batches, "loss"):
            batches.loss(loss)
    return losses


@pytest.mark.parametrize("made", [eager, adapted])
def test_plain_loop(made: Callable[[], Any], tmp_path: Path) -> None:
    with torchs_counter() as counter:
        losses = plain_loop(made(), data())
    model = made()
    plain_loop(model, watch(data(), model, out=tmp_path, every=0, ceilings=False))
    Witness(counter.get_total_flops(), STEPS * 64, losses).agrees_with(only_record(tmp_path))


@pytest.mark.parametrize("made", [eager, adapted])
def test_lightning(made: Callable[[], Any], tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Lit(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.losses = made(), []

        def training_step(self, given: dict[str, Any], _: int) -> torch.Tensor:
            loss: torch.Tensor = self.net(**given).loss
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-3)

    def fit(*callbacks: Any) -> list[float]:
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        module = Lit()
        loader = torch.utils.data.DataLoader(Texts(), batch_size=ROWS)
        lightning.Trainer(max_steps=STEPS, accelerator="cpu", callbacks=list(callbacks), **quiet).fit(module, loader)
        return list(module.losses)

    with torchs_counter() as counter:
        losses = fit()
    fit(lightning_callback(out=tmp_path, every=0, ceilings=False, network=lambda module: module.net))
    Witness(counter.get_total_flops(), STEPS * 64, losses).agrees_with(only_record(tmp_path))
