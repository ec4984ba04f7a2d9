"""One training of an article's model, decided, with its data."""

from __future__ import annotations

from dataclasses import dataclass

from bench.backend.device import Device
from bench.records.asked import Preset
from bench.records.run import Run
from bench.workloads.article.subjects import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleRun(Run):
    """Everything that a training needs to know.

    Attributes:
        job: of a fine-tuning; None of every one of these.
        device: that it trains on; of several ranks, the kind of it.
        preset: how thorough.
        seed: of weights, order of the samples, and the text that is written.
        subject: what is learned, with the data drawn or read.
        epochs, learning_rate: of the training.
        warmup_fraction: the learning rate rises from 0 over this part of the steps and falls back to 0; None keeps it as it is.
        steps, max_time_s: when to stop at the latest; None never stops before the last epoch.
        prompt: after which a language model writes `new_tokens` characters; empty for other networks.
    """

    device: Device
    preset: Preset
    seed: int
    subject: Subject
    epochs: int
    learning_rate: float
    warmup_fraction: float | None
    steps: int | None
    max_time_s: float | None
    prompt: str

    @property
    def is_text(self) -> bool:
        """Whether it is the small GPT and no dense network."""
        return self.subject.item == "token"
