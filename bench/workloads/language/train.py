"""Training, step by step on one batch, through accelerate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.backend.steps.held_memory import held_bytes, num_trained
from bench.backend.steps.training import Batch, TrainingStep, loss_of
from bench.backend.training_evidence import SampledParameters, gradient_norm
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.proof import CountedTuning, Proof
from bench.workloads.article.engine import engine
from bench.workloads.language.run import LanguageRun
from bench.workloads.step_run import StepRun
from bench.workloads.timed import Timed, after, sampled

Loss = Callable[[Any, Any], torch.Tensor]
"""Of a model, or of what wraps it, on a batch."""


def training_step(
    model: nn.Module,
    batch: Batch,
    run: StepRun,
    accelerator: Any,
    *,
    loss: Loss = loss_of,
    compiled: bool = False,
    updates: bool = True,
) -> TrainingStep:
    """The run's step.

    Args:
        batch, loss: as of TrainingStep.
        accelerator: `engine`'s of the run's device and `autocast_dtype`.
        updates: whether its optimizer will step; one that will not is a plain one, whatever the run has.
    """
    return TrainingStep(
        model,
        batch,
        accelerator,
        loss=loss,
        optimizer=run.job.optimizer if run.job and updates else run.optimizer,
        learning_rate=run.learning_rate,
        recompute=run.recompute,
        compiled=compiled,
    )


def autocast_dtype(run: StepRun) -> str:
    """What products run in under autocast; fp32 for no autocast, whatever the weights are in."""
    return run.dtype if run.job is None else run.job.autocast or "fp32"


def held(model: nn.Module, ids: torch.Tensor, run: LanguageRun) -> CountedTuning:
    """One more step of a fine-tuning, its memory counted on its tensors."""
    assert run.job is not None
    with engine(run.device, autocast_dtype(run)) as (accelerator, _), training_step(model, ids, run, accelerator) as step:
        step()  # its optimizer then has a state
        parts_bytes = held_bytes(step, model, adapters=run.job.trains_adapters)
    return CountedTuning(trained_params=num_trained(model), parts_bytes=parts_bytes)


def train(model: nn.Module, ids: torch.Tensor, run: LanguageRun, name: str = "train_step", watch: Watch = unwatched) -> Timed:
    """Time the training steps of a causal language model; see `train_on`.

    Args:
        ids: B x T token ids, inputs and labels at once.
    """
    return train_on(model, ids, run, name, watch, items=ids.numel(), item="token")


def train_on(
    model: nn.Module,
    batch: Batch,
    run: StepRun,
    name: str,
    watch: Watch,
    *,
    items: int,
    item: str,
    loss: Loss = loss_of,
    reached: bool = False,
) -> Timed:
    """Time optimizer steps on one fixed batch, which a working optimizer learns, so that its loss falls.

    Weights, gradients and the optimizer's state are fp32, or as the run's job has them; forward and backward run under autocast in the
    run's dtype. The loss stays on the device inside the timed region and is read after it.

    Args:
        batch, loss: as of TrainingStep.
        items, item: how many of what a step of one rank processes.
        reached: of SampledParameters.changed.
    """
    with (
        engine(run.device, autocast_dtype(run)) as (accelerator, _),
        training_step(model, batch, run, accelerator, loss=loss, compiled=run.compile) as one_step,
    ):
        torch.manual_seed(run.seed)  # of dropout
        is_low = run.job is not None and not run.job.trains_adapters and run.job.weights_dtype != "fp32"
        parameters = SampledParameters(model, matrices_alone=is_low)
        losses: list[torch.Tensor] = []

        def step() -> None:
            losses.append(one_step())

        warmup_max = math.ceil(run.preset.warmup_max[run.device.kind] / 2)
        compiling_s, samples = sampled(step, run, name, watch, warmup_max=warmup_max, shown=accelerator.is_main_process)
        grad_norm = gradient_norm(model)
        changed = parameters.changed(reached=reached)
        means = accelerator.reduce(torch.stack(losses).float(), reduction="mean").tolist() if losses else []
        num_ranks = accelerator.num_processes
    phase = after(compiling_s, samples.to_phase(name, items_per_sample=items * num_ranks, item=item))
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
