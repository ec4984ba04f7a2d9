"""Training through accelerate: the loop, what it takes the time of, and the losses before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from bench.backend.steps.optimizer import new_optimizer
from bench.sampling.clock import Clock
from bench.workloads.article.batches import Batch
from bench.workloads.article.engine import any_rank
from bench.workloads.article.networks import run
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.subjects import Score

INTERRUPT_WAIT_S = 0.5


@dataclass(slots=True)
class Log:
    """What one rank saw of a training.

    Attributes:
        steps: per optimizer step its seconds and the samples that this rank put in.
        epoch_s: per epoch its seconds, fetching batches included, scoring not.
        stopped_by: count, time or interrupt.
    """

    steps: list[tuple[float, int]] = field(default_factory=list)
    epoch_s: list[float] = field(default_factory=list)
    stopped_by: str = "count"

    @property
    def step_s(self) -> list[float]:
        """Seconds of every optimizer step, in order."""
        return [seconds for seconds, _ in self.steps]

    @property
    def num_samples(self) -> int:
        """Samples that this rank put in."""
        return sum(samples for _, samples in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLimits:
    """When to stop at the latest: after so many epochs, optimizer steps, seconds. None never stops."""

    epochs: int
    steps: int | None = None
    max_time_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """What a step needs, as accelerate prepared it.

    Attributes:
        schedule: changes the learning rate after every step; None where it stays.
        losses: outputs and targets to one loss per sample.
        batch: samples of a step, over all ranks.
    """

    accelerator: Accelerator
    model: nn.Module
    optimizer: Optimizer
    schedule: Any
    losses: Score
    batch: int

    def step(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> None:
        """Forward, loss, backward, optimizer.

        Accelerate's own bookkeeping is in the time. It takes a good 0.1 ms on a CPU: nothing to a language model,
        but more than all the arithmetic of a linear regression.
        """
        self.forward_backward(inputs, targets, weights)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()

    def forward_backward(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> None:
        """The step without its update, which leaves its gradients behind: their mean over the ranks.

        The loss is the mean over the batch of all ranks: each rank adds up its own samples' losses and scales
        by ranks / batch, because the ranks' gradients are then averaged.
        """
        self.optimizer.zero_grad()
        outputs = run(self.model, inputs)
        loss = self.losses(outputs, targets) @ weights * (self.accelerator.num_processes / self.batch)
        self.accelerator.backward(loss)


def optimizer_of(decided: ArticleRun, model: nn.Module) -> Optimizer:
    """Plain gradient descent, or AdamW with PyTorch's betas and weight decay."""
    return new_optimizer(decided.optimizer, model.parameters(), decided.learning_rate)


def schedule_of(decided: ArticleRun, optimizer: Optimizer, num_steps: int) -> LambdaLR | None:
    """The learning rate's rise and fall over `num_steps` steps; None where it stays."""
    if decided.warmup_fraction is None:
        return None
    rising = max(1, int(num_steps * decided.warmup_fraction))
    return LambdaLR(optimizer, lambda step: min((step + 1) / rising, (num_steps - step) / max(1, num_steps - rising), 1.0))


def train(trainer: Trainer, loader: DataLoader[Batch], limits: TrainingLimits, clock: Clock, *, after_epoch: Callable[[int], None]) -> Log:
    """Train, and take the time of every optimizer step. Its batch is on the device before: fetching shows in the epochs only.

    Args:
        after_epoch: called with the number of epochs done, outside all timing.

    Returns:
        the log; an interrupted training (Ctrl-C) returns what it has, with stopped_by "interrupt".
    """
    log = Log()
    try:
        _train(trainer, loader, limits, clock, log, after_epoch)
    except KeyboardInterrupt:
        log.stopped_by = "interrupt"
    return log


def _train(
    trainer: Trainer, loader: DataLoader[Batch], limits: TrainingLimits, clock: Clock, log: Log, after_epoch: Callable[[int], None]
) -> None:
    began = clock.now()
    try:
        for epoch in range(1, limits.epochs + 1):
            epoch_began = clock.now()
            for batch in loader:
                seconds = clock.time(partial(trainer.step, *batch))
                log.steps.append((seconds, int(batch[2].sum())))
                if _is_over(trainer.accelerator, log, limits, clock.now() - began):
                    return
            log.epoch_s.append(clock.now() - epoch_began)
            after_epoch(epoch)
    except RuntimeError:
        # Another rank that was interrupted first breaks the connection; our own interrupt is then on its way.
        if trainer.accelerator.num_processes > 1:
            time.sleep(INTERRUPT_WAIT_S)
        raise


def _is_over(accelerator: Accelerator, log: Log, limits: TrainingLimits, elapsed_s: float) -> bool:
    """Whether a limit is reached. The ranks agree on the time, or one would wait for the others' gradients forever."""
    if limits.max_time_s is not None and any_rank(accelerator, elapsed_s >= limits.max_time_s):
        log.stopped_by = "time"
        return True
    return limits.steps is not None and len(log.steps) >= limits.steps


def score(accelerator: Accelerator, model: nn.Module, loader: DataLoader[Batch], scores: Mapping[str, Score]) -> dict[str, float]:
    """Means of per-sample scores over all samples of a loader, summed over the ranks; fillers weigh nothing."""
    sums = torch.zeros(len(scores) + 1, device=accelerator.device)
    model.eval()
    with torch.no_grad():
        for inputs, targets, weights in loader:
            outputs = run(model, inputs)
            sums += torch.stack([*(each(outputs, targets) @ weights for each in scores.values()), weights.sum()])
    model.train()
    *totals, count = accelerator.reduce(sums, "sum").tolist()
    return {name: total / count for name, total in zip(scores, totals, strict=True)}
