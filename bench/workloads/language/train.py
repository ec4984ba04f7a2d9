"""A real training step of a causal language model: forward, loss, backward, AdamW, through accelerate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.backend.device import Device
from bench.record import Draft, Phase
from bench.request import Request
from bench.timing import OnSample, sample
from bench.workloads.language.steps import DEFAULT_STEPS, DEFAULT_TIME_S

LEARNING_RATE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a timed training leaves beside its times.

    Attributes:
        losses: of every step, warm-up included; the batch is fixed, so a working optimizer lowers it.
        params_changed: whether the watched parameter moved.
    """

    phase: Phase
    losses: tuple[float, ...]
    params_changed: bool
    num_ranks: int


def train(
    model: nn.Module, ids: torch.Tensor, request: Request, device: Device, on_sample: OnSample | None = None, name: str = "train_step"
) -> Trained:
    """Time optimizer steps on one fixed batch.

    Weights, gradients and AdamW's state are fp32; forward and backward run under autocast in the request's dtype. The
    loss stays on the device inside the timed region and is read after it.

    Args:
        ids: B x T token ids, inputs and labels at once.
    """
    from accelerate import Accelerator

    precision = {"bf16": "bf16", "fp16": "fp16"}.get(request.dtype or "fp32", "no")
    accelerator = Accelerator(mixed_precision=precision, cpu=device.kind == "cpu")
    if request.recompute == "full":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=request.learning_rate or LEARNING_RATE)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    forward: Any = torch.compile(prepared) if request.compile else prepared
    watched = max((p for p in model.parameters() if p.dim() >= 2), key=lambda p: p.numel() if p.numel() < 10**7 else 0)
    before = watched.detach().clone()
    losses: list[torch.Tensor] = []

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(input_ids=ids, labels=ids, use_cache=False).loss
        accelerator.backward(loss)
        optimizer.step()
        losses.append(loss.detach())

    steps = request.steps or DEFAULT_STEPS[device.kind]
    samples = sample(
        step,
        clock=device.clock(),
        warmup_max=2 if device.kind == "cpu" else 10,
        min_samples=min(3, steps),
        max_samples=steps,
        max_time_s=request.max_time_s or 2 * DEFAULT_TIME_S,
        on_sample=on_sample,
    )
    gathered = accelerator.reduce(torch.stack(losses).float(), reduction="mean")
    return Trained(
        phase=samples.to_phase(name, items_per_sample=ids.numel() * accelerator.num_processes),
        losses=tuple(gathered.tolist()),
        params_changed=not torch.equal(before, watched.detach()),
        num_ranks=accelerator.num_processes,
    )


def run(model: nn.Module, ids: torch.Tensor, request: Request, draft: Draft, device: Device, on_sample: OnSample | None = None) -> None:
    """The train task on the whole model."""
    trained = train(model, ids, request, device, on_sample)
    draft.proof |= proof(trained)
    draft.add_phase(trained.phase)


def proof(trained: Trained) -> dict[str, Any]:
    """Evidence that the training trained."""
    finite = all(math.isfinite(loss) for loss in trained.losses)
    return {
        "loss_first": trained.losses[0] if finite else None,
        "loss_last": trained.losses[-1] if finite else None,
        "loss_finite": finite,
        "params_changed": trained.params_changed,
        "num_steps": len(trained.losses),
        "num_ranks": trained.num_ranks,
    }
