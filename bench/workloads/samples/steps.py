"""The two steps of a model of samples: a training step, and a forward pass alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from bench.backend.outputs import tensors_in
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.proof import Proof
from bench.workloads.language.train import train_on
from bench.workloads.samples.run import SampleRun
from bench.workloads.timed import Timed, after, sampled

Given = Mapping[str, torch.Tensor]


def train(model: nn.Module, given: Given, run: SampleRun, watch: Watch = unwatched) -> Timed:
    """Time optimizer steps on one fixed batch."""
    items, item = run.items
    return train_on(model, given, run, "train_step", watch, items=items, item=item, loss=run.network.loss, reached=True)


def forward(model: nn.Module, given: Given, run: SampleRun, watch: Watch = unwatched) -> Timed:
    """Time forward passes without gradients."""
    last: dict[str, Any] = {}
    network = torch.compile(model) if run.compile else model
    items, item = run.items

    def step() -> None:
        with torch.inference_mode():
            last["made"] = run.network.forward(network, given)

    compiling_s, samples = sampled(step, run, "forward", watch)
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in _floats(last["made"])) if last else None
    phase = samples.to_phase("forward", items_per_sample=items, item=item)
    return Timed(phase=after(compiling_s, phase), samples=samples, proof=Proof(logits_finite=finite))


def _floats(made: Any) -> Iterator[torch.Tensor]:
    return (tensor.float() for tensor in tensors_in(made) if tensor.is_floating_point())


STEPS = {"train": train, "forward": forward}
"""Task to what times its step."""
