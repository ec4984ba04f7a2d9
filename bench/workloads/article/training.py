"""Training through accelerate: the loop, what it takes the time of, and the losses before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bench.meters.clock import HostClock
from bench.workloads.article.batches import Batch
from bench.workloads.article.engine import largest, synchronizer
from bench.workloads.article.hyperparameters import Plan
from bench.workloads.article.networks import run
from bench.workloads.article.subjects import Score

Loader = DataLoader[Batch]


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
class Limits:
    """When to stop before the last epoch: after so many optimizer steps, or seconds; None never does."""

    steps: int | None
    seconds: float | None


def optimizer_of(plan: Plan, model: nn.Module) -> torch.optim.Optimizer:
    """Plain gradient descent, or AdamW with PyTorch's betas and weight decay."""
    kind: Any = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[plan.optimizer]
    optimizer: torch.optim.Optimizer = kind(model.parameters(), lr=plan.learning_rate)
    return optimizer


def train(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Loader,
    losses: Score,
    *,
    batch: int,
    epochs: int,
    limits: Limits,
    after_epoch: Callable[[int], None],
) -> Log:
    """Train, and take the time of every optimizer step.

    A step is forward, loss, backward (with it the sum of gradients over the ranks) and the optimizer, all through
    accelerate; its batch is already on the device. Fetching batches shows in the epochs' times only.

    Args:
        model, optimizer, loader: as accelerate prepared them.
        batch: samples of a step over all ranks. The step's loss is the mean over them: each rank adds its samples'
            losses and scales by ranks / batch, since the ranks' gradients are averaged.
        after_epoch: called with the number of epochs done, outside all timing.

    Returns:
        the log; an interrupted training (Ctrl-C) returns what it has, with stopped_by "interrupt".
    """
    clock = HostClock(synchronizer(accelerator))
    scale = accelerator.num_processes / batch
    log = Log()
    began = clock.now()

    def step(inputs: Tensor, targets: Tensor, weights: Tensor) -> None:
        loss = (losses(run(model, inputs), targets) * weights).sum() * scale
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    try:
        for epoch in range(1, epochs + 1):
            epoch_began = clock.now()
            for inputs, targets, weights in loader:
                seconds = clock.time(lambda batch=(inputs, targets, weights): step(*batch))
                log.steps.append((seconds, int(weights.sum())))
                if _is_over(accelerator, log, limits, clock.now() - began):
                    return log
            log.epoch_s.append(clock.now() - epoch_began)
            after_epoch(epoch)
    except KeyboardInterrupt:
        log.stopped_by = "interrupt"
    return log


def _is_over(accelerator: Accelerator, log: Log, limits: Limits, elapsed_s: float) -> bool:
    """Whether a limit is reached. The ranks agree on the time, or one would wait for the others' gradients forever."""
    if limits.seconds is not None and largest(accelerator, elapsed_s) >= limits.seconds:
        log.stopped_by = "time"
        return True
    return limits.steps is not None and len(log.steps) >= limits.steps


def score(accelerator: Accelerator, model: nn.Module, loader: Loader, scores: Mapping[str, Score]) -> dict[str, float]:
    """Means of per-sample scores over all samples of a loader, fillers left out, summed over the ranks."""
    sums = torch.zeros(len(scores) + 1, device=accelerator.device)
    model.eval()
    with torch.no_grad():
        for inputs, targets, weights in loader:
            outputs = run(model, inputs)
            sums += torch.stack([*((s(outputs, targets) * weights).sum() for s in scores.values()), weights.sum()])
    model.train()
    *totals, count = accelerator.reduce(sums, "sum").tolist()
    return {name: total / count for name, total in zip(scores, totals, strict=True)}
