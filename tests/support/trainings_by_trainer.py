"""A tiny training by transformers' Trainer, and the callback that watches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from bench.callbacks import SixndCallback
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import tiny_model


def rows(count: int, length: int = 16, padding: int = 2) -> list[dict[str, torch.Tensor]]:
    ids = torch.randint(0, 128, (length,), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[length - padding :] = 0
    return [{"input_ids": ids, "attention_mask": mask, "labels": ids}] * count


def trainer(
    tmp_path: Path,
    *callbacks: TrainerCallback,
    num_rows: int = 24,
    kind: type[Trainer] = Trainer,
    model: nn.Module | None = None,
    **options: Any,
) -> Trainer:
    fixed: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 2}
    fixed |= {"per_device_train_batch_size": 2, "num_train_epochs": 1, "learning_rate": 1e-3}
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"), **(fixed | options))
    return kind(model=model or tiny_model(), args=arguments, train_dataset=rows(num_rows), eval_dataset=rows(4), callbacks=list(callbacks))


def callback(tmp_path: Path, **options: Any) -> SixndCallback:
    return SixndCallback(out=tmp_path / "runs", ceilings=CEILINGS, **options)
