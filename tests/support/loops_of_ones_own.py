"""Loops of one's own under watch: any network, any batches, any step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from bench.callbacks import watch
from bench.records.record import Measurement
from tests.support.watched_trainings import only_record

Step = Callable[[nn.Module, Any, torch.optim.Optimizer], Any]


def usual_step(loss_of: Callable[[nn.Module, Any], torch.Tensor]) -> Step:
    """One forward pass, one backward pass, one step of the optimizer."""

    def step(network: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        loss = loss_of(network, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def closure_step(optimizer: torch.optim.Optimizer) -> tuple[Step, list[int]]:
    """A step of an optimizer that calls forward and backward itself, such as LBFGS, and a list whose number says how often it did."""
    num_passes = [0]

    def step(network: nn.Module, batch: Any, _: torch.optim.Optimizer) -> Any:
        def closure() -> torch.Tensor:
            num_passes[0] += 1
            optimizer.zero_grad()
            loss = squares(network, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        return optimizer.step(closure)

    return step, num_passes


def squares(network: nn.Module, batch: Any) -> torch.Tensor:
    """A loss of whatever the network returns."""
    output: torch.Tensor = network(batch)
    return output.square().mean()


def named(network: nn.Module, batch: Any) -> torch.Tensor:
    """The loss that a model of transformers returns."""
    loss: torch.Tensor = network(**batch).loss
    return loss


def train(folder: Path, network: nn.Module, data: Iterable[Any], step: Step | None = None, **options: Any) -> Measurement:
    """The record of a watched training; `options` are those of `watch`."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.01)
    watched = watch(list(data), network, **({"out": folder, "every": 0, "ceilings": False} | options))
    for batch in watched:
        loss = (step or usual_step(squares))(network, batch, optimizer)
        if loss is not None:
            watched.loss(loss)
    return only_record(folder)


def flop(record: Measurement) -> tuple[int | None, int | None]:
    """Of all steps: full or causal, and with what is recomputed."""
    seen = record.proof.watched
    assert seen is not None
    return seen.training_flop, seen.hardware_flop


def tiny_llama(**fields: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 32}
    return LlamaForCausalLM(LlamaConfig(**{**sizes, "intermediate_size": 64, "vocab_size": 64, **fields}))  # type: ignore[no-untyped-call]


def small() -> nn.Sequential:
    """2,816 FLOP a pass of 4 rows, forward and backward: 1,280; 1,024 and 512, since nothing needs a gradient of the input."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
