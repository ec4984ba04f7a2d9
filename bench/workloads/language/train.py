"""Training of a causal language model, step by step on one batch, through accelerate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from bench.backend.steps.training import TrainingStep
from bench.backend.training_evidence import SampledParameters, gradient_norm
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.proof import Proof
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import sample
from bench.workloads.article.engine import engine
from bench.workloads.language.run import LanguageRun
from bench.workloads.language.steps import Timed, after, compiling


def training_step(model: nn.Module, ids: torch.Tensor, run: LanguageRun, accelerator: Any, *, compiled: bool = False) -> TrainingStep:
    """The run's step; the accelerator is `engine`'s of its device and dtype."""
    return TrainingStep(
        model,
        ids,
        accelerator,
        optimizer=run.optimizer,
        learning_rate=run.learning_rate,
        recompute=run.recompute,
        compiled=compiled,
    )


def train(model: nn.Module, ids: torch.Tensor, run: LanguageRun, name: str = "train_step", watch: Watch = unwatched) -> Timed:
    """Time optimizer steps on one fixed batch, which a working optimizer learns, so that its loss falls.

    Weights, gradients and the optimizer's state are fp32; forward and backward run under autocast in the run's dtype. The
    loss stays on the device inside the timed region and is read after it.

    Args:
        ids: B x T token ids, inputs and labels at once.
    """
    with engine(run.device, run.dtype) as (accelerator, _), training_step(model, ids, run, accelerator, compiled=run.compile) as one_step:
        torch.manual_seed(run.seed)  # of dropout
        parameters = SampledParameters(model)
        losses: list[torch.Tensor] = []

        def step() -> None:
            losses.append(one_step())

        asked, clock = run.preset, run.device.clock()
        compiling_s = compiling(step, clock, run)
        with sampling(name, max_samples=run.steps, max_time_s=run.max_time_s, shown=accelerator.is_main_process) as on_sample:
            samples = sample(
                step,
                clock=clock,
                warmup_max=math.ceil(asked.warmup_max[run.device.kind] / 2),
                min_samples=min(asked.min_samples, run.steps),
                max_samples=run.steps,
                max_time_s=run.max_time_s,
                target_fraction=asked.target_fraction,
                on_sample=on_sample,
                steady=watch(name),
            )
        grad_norm = gradient_norm(model)
        changed = parameters.changed()
        means = accelerator.reduce(torch.stack(losses).float(), reduction="mean").tolist() if losses else []
        num_ranks = accelerator.num_processes
    phase = after(compiling_s, samples.to_phase(name, items_per_sample=ids.numel() * num_ranks))
    return Timed(phase=phase, samples=samples, proof=_proof(means, changed, grad_norm) | Proof(num_ranks=num_ranks))


def _proof(losses: list[float], changed: bool, grad_norm: float | None) -> Proof:
    """Evidence that the training trained: of every step, warm-up included; a loss that is not a number is None."""
    if not losses:
        return Proof(num_steps=0)
    finite = all(map(math.isfinite, losses))
    return Proof(
        loss_first=losses[0] if finite else None,
        loss_last=losses[-1] if finite else None,
        loss_finite=finite,
        params_changed=changed,
        grad_norm=grad_norm,
        num_steps=len(losses),
    )
