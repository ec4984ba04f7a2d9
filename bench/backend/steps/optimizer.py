"""The optimizers that a step may have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from bench.backend.tuned_model import without_remarks
from estimators.errors import UnavailableError

PLAIN = ("sgd", "adamw")
"""Optimizers at PyTorch's defaults."""

SHARED_STATE = ("qmap1", "qmap2")
"""State that all tensors share: bitsandbytes' maps of codes."""


def new_optimizer(name: str, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Plain gradient descent ("sgd") or AdamW ("adamw"), at PyTorch's defaults but for the rate."""
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, lr=learning_rate)


def optimizer_of(name: str, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """What updates a model's trained parameters.

    Args:
        name: a plain one of `new_optimizer`, or an `optim` of transformers' Trainer, which is made as that makes it.

    Raises:
        UnavailableError: the Trainer cannot make it here.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name in PLAIN:
        return new_optimizer(name, trained, learning_rate)
    return _by_trainer(name, model, trained, learning_rate)


def _by_trainer(name: str, model: nn.Module, trained: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    from transformers import Trainer, TrainingArguments
    from transformers.training_args import OptimizerNames

    # not the class itself: making one of it resets accelerate's device, which the step that is being made has
    usual = {field.name: None if field.default is dataclasses.MISSING else field.default for field in dataclasses.fields(TrainingArguments)}
    try:
        arguments: Any = SimpleNamespace(**usual | {"optim": OptimizerNames(name), "learning_rate": learning_rate})
        with without_remarks():
            kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
            _keep_tables_wide(kind, options, model)
            made: torch.optim.Optimizer = kind(options.pop("params", trained), **options)
    except Exception as error:  # packages that are missing or do not know the device say so in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UnavailableError(f"--optimizer {name} cannot be made here: {reason}; take adamw_torch_fused or sgd") from None
    return made


def _keep_tables_wide(kind: Any, options: dict[str, Any], model: nn.Module) -> None:
    """Have bitsandbytes keep fp32 state of embeddings, as the Trainer has it. Source: transformers, Trainer.create_optimizer (5.24)."""
    if "bitsandbytes" not in str(kind) or options.get("optim_bits") != 8:
        return
    import bitsandbytes

    manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
    manager.initialize()  # it remembers an earlier model's by their places in its optimizer
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
