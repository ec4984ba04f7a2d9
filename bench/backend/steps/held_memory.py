"""What a training step holds, counted on its tensors: weights, gradients, the optimizer's state, and what autograd keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.backend.steps.optimizer import SHARED_STATE
from bench.backend.steps.training import TrainingStep
from bench.backend.tuned_model import num_elements, stored_bytes


class Kept:
    """Storages that autograd keeps of a forward pass, each once; parameters and buffers, which are there anyway, left out.

    Of layers that are run again in the backward pass, torch keeps what they were given; that is no saved tensor, and is seen as it goes in.
    """

    def __init__(self, model: nn.Module) -> None:
        self._own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        self._model = model
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._before_loss: int | None = None

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self._storages.setdefault(storage.data_ptr(), storage)  # held, so that no address is used twice
        return tensor

    def _given(self, _: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        for value in (*args, *named.values()):
            for tensor in value if isinstance(value, tuple) else (value,):
                if isinstance(tensor, torch.Tensor):
                    self._keep(tensor)

    def _head_is_done(self, *_: object) -> None:
        self._before_loss = self._size()

    def _size(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a forward pass, and nothing else."""
        real: Any = self._model
        hooks = [real.get_output_embeddings().register_forward_hook(self._head_is_done)]
        for module in real.modules():
            if getattr(module, "gradient_checkpointing", False) and not hasattr(module, "get_input_embeddings"):
                hooks.append(module.register_forward_pre_hook(self._given, with_kwargs=True))
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def parts_bytes(self) -> Mapping[str, int]:
        """What is kept up to the head's product, and after it."""
        before = self._size() if self._before_loss is None else self._before_loss
        return {"activations": before, "loss": self._size() - before}


def held_bytes(step: TrainingStep, model: nn.Module, *, adapters: bool) -> dict[str, int]:
    """Bytes by part, names as in estimators.tuning.countable, of one more step, which is taken.

    Args:
        model: that the step trains.
        adapters: whether what is trained of it is adapters.
    """
    kept = Kept(model)
    step.forget()
    with kept.watching():
        loss = step.forward()
    of_pass = kept.parts_bytes()
    del kept
    step.backward(loss)
    del loss
    gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)
    step.update()
    trained = sum(stored_bytes(parameter) for parameter in model.parameters() if parameter.requires_grad) if adapters else 0
    return {
        "weights": sum(map(stored_bytes, model.parameters())) - trained,
        "adapters": trained,
        "gradients": gradients,
        "optimizer": state_bytes(step.state),
        **of_pass,
    }


def state_bytes(state: Mapping[Any, Mapping[str, Any]]) -> int:
    """Of an optimizer's state, what it keeps for elements: single numbers, such as of steps, and what all tensors share are left out."""
    kept = [value for each in state.values() for name, value in each.items() if name not in SHARED_STATE]
    tensors = [value for value in kept if isinstance(value, torch.Tensor) and value.dim() > 0]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def num_trained(model: nn.Module) -> int:
    """Elements of what needs a gradient."""
    return sum(num_elements(parameter) for parameter in model.parameters() if parameter.requires_grad)
