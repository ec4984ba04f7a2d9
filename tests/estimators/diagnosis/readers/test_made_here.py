"""Files that tools themselves write here, beside a clock of ours: a Trainer's state, Lightning's table, a log of torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bench.cli.main import main
from estimators.diagnosis.readers.formats import observed_in

pytestmark = pytest.mark.slow

LENGTH, BATCH, STEPS = 32, 4, 40


def steady(times: list[float]) -> float:
    """Median of the seconds between readings of a clock, without the first ten."""
    return median(after - before for before, after in pairwise(times[10:]))


def test_the_state_of_a_real_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.times.append(time.perf_counter())

    config = GPT2Config(n_layer=2, n_head=2, n_embd=64, n_positions=LENGTH, vocab_size=256)
    rows = [{"input_ids": torch.arange(LENGTH), "labels": torch.arange(LENGTH)} for _ in range(BATCH * STEPS)]
    clock = Clock()
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        logging_steps=1,
        save_strategy="steps",
        save_steps=STEPS,
        include_num_input_tokens_seen="all",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(model=GPT2LMHeadModel(config), args=arguments, train_dataset=rows, callbacks=[clock])
    trainer.train()
    trainer.save_state()
    observed = observed_in(str(tmp_path / "trainer_state.json"))
    rate = observed.figures[0]
    assert (rate.quantity, rate.scope) == ("tokens_per_s", "job")
    assert rate.value == pytest.approx(BATCH * LENGTH / steady(clock.times), rel=0.25)  # a log lies between two steps' ends
    assert observed.setting.micro_batch == BATCH
    (checkpoint,) = tmp_path.glob("checkpoint-*/trainer_state.json")
    assert observed_in(str(checkpoint)).figures
    capsys.readouterr()
    assert main(["diagnose", str(tmp_path / "trainer_state.json"), "--format", "json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert body["verdict"] == "UNKNOWN"
    assert body["observed_items_per_s_per_device"] is None
    assert any("--gpus" in fact for fact in body["missing"])


def test_the_table_of_a_real_lightning_training(tmp_path: Path) -> None:
    import lightning.pytorch as lightning
    import torch
    from lightning.pytorch.callbacks import Callback, ThroughputMonitor
    from lightning.pytorch.loggers import CSVLogger

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(LENGTH, 256)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch).pow(2).mean()
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            time.sleep(0.01)  # a step that lasts, so that the rest of the loop is a small part of it
            self.times.append(time.perf_counter())

    clock = Clock()
    monitor = ThroughputMonitor(batch_size_fn=len, length_fn=lambda batch: batch.numel(), window_size=10)
    trainer = lightning.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        devices=1,
        logger=CSVLogger(str(tmp_path)),
        callbacks=[clock, monitor],
        log_every_n_steps=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(BATCH * STEPS, LENGTH), batch_size=BATCH))
    assert any("length_fn gives for a whole batch" in note for note in observed_in(str(*tmp_path.glob("**/metrics.csv"))).notes)
    (table,) = tmp_path.glob("**/metrics.csv")
    observed = observed_in(str(table))
    rate = observed.figures[0]
    assert (rate.quantity, rate.scope) == ("tokens_per_s", "device")
    assert rate.value == pytest.approx(BATCH * LENGTH / steady(clock.times), rel=0.25)


RANK = """
import json, os, sys, time
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, model = dist.get_rank(), torch.nn.Linear(64, 64)
model = torch.nn.parallel.DistributedDataParallel(model)
took = []
for step in range(40):
    began = time.perf_counter()
    time.sleep(0.02)
    loss = model(torch.ones(8, 64)).pow(2).mean()
    loss.backward()
    took.append(time.perf_counter() - began)
    print(f"iter {step}: loss {loss.item():.4f}, time {1000 * took[-1]:.2f}ms, mfu -100.00%", flush=True)
if rank == 0:
    json.dump(took, open(sys.argv[1], "w"))
dist.destroy_process_group()
"""


def test_the_log_of_a_real_torchrun_in_which_both_ranks_print(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RANK, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--tee=3",
        "--master-port=29617",
        "train.py",
        "took.json",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    (tmp_path / "train.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    observed = observed_in(str(tmp_path / "train.log"))
    time_s = observed.figures[0]
    assert (time_s.quantity, time_s.scope, time_s.num_samples) == ("step_time_s", "job", 30)
    assert time_s.value == pytest.approx(
        median(json.loads((tmp_path / "took.json").read_text())[10:]), rel=0.1
    )  # of the rank that printed first
    assert {each.what: each.number for each in observed.skipped}["lines of steps that had been read"] == 40
