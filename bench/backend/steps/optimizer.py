"""The optimizers that a step may have."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def new_optimizer(name: str, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Plain gradient descent ("sgd") or AdamW ("adamw"), at PyTorch's defaults but for the rate."""
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, lr=learning_rate)
