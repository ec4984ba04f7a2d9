"""Sees what a trainer gives its model: every training batch and loss, with the model's own forward as the place to look."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

SeeBatch = Callable[[dict[str, Any]], None]
SeeLoss = Callable[[Any], None]


class ForwardHook:
    """Calls back for forward passes of a model in training mode: an evaluation is none.

    Args:
        model: the innermost one, which is given batches whatever wraps it.
        see_batch: with the arguments by name, before the pass.
        see_loss: with the loss that it returned, after it, where it returned one.
        compiled: whether torch.compile may trace the hooks; they are then kept out of its graphs.
    """

    def __init__(self, model: nn.Module, see_batch: SeeBatch, see_loss: SeeLoss, *, compiled: bool = False) -> None:
        names = list(inspect.signature(model.forward).parameters)

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if module.training and torch.is_grad_enabled():
                see_batch({**dict(zip(names, args, strict=False)), **kwargs})

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if module.training and torch.is_grad_enabled():
                loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
                if loss is not None:
                    see_loss(loss)

        if compiled:
            before, after = torch.compiler.disable(before), torch.compiler.disable(after)
        self._handles = [
            model.register_forward_pre_hook(before, with_kwargs=True),
            model.register_forward_hook(after, with_kwargs=True),
        ]

    def remove(self) -> None:
        """See no more."""
        for handle in self._handles:
            handle.remove()
