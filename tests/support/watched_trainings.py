"""A tiny model, batches and an optimizer of one's own, and the record that watching them leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.backend.models import random_language_model
from bench.callbacks import watch
from bench.records import record
from bench.records.record import Measurement
from tests.support.tiny_models import CEILINGS, config

CPU = torch.device("cpu")
Batch = dict[str, torch.Tensor]


def tiny_model() -> nn.Module:
    return random_language_model(config("gpt2"), attn="sdpa", dtype=torch.float32, device=CPU, seed=0).train()


def batches(count: int, *, rows: int = 2, length: int = 16, padding: int = 0) -> list[Batch]:
    """One batch again and again, which a working optimizer learns; the last row ends with padding."""
    ids = torch.randint(0, 128, (rows, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if padding:
        mask[-1, -padding:] = 0
    return [{"input_ids": ids, "attention_mask": mask, "labels": ids}] * count


class Training:
    """A training of one's own: forward, backward, optimizer."""

    def __init__(self, model: nn.Module, learning_rate: float = 1e-3) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)

    def step(self, batch: Batch) -> torch.Tensor:
        loss: torch.Tensor = self.model(**batch).loss
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def only_record(folder: Path) -> Measurement:
    (path,) = folder.glob("*.json")
    return record.read(path)


def run(folder: Path, data: list[Batch], model: nn.Module | None = None, **options: Any) -> Measurement:
    model = model or tiny_model()
    training = Training(model)
    watched = watch(data, model, **({"out": folder, "every": 0, "ceilings": CEILINGS} | options))
    for batch in watched:
        watched.loss(training.step(batch))
    return only_record(folder)
