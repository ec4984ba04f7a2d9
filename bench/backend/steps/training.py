"""One training step: what is timed, traced, profiled and counted, of a causal language model or of what else has a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeAlias

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from bench.backend.steps.optimizer import optimizer_of

Batch: TypeAlias = torch.Tensor | Mapping[str, torch.Tensor]
"""Token ids, or arguments of a forward pass by name."""

RENAMED = "activation_checkpointing_enable"
"""Where transformers 5.24 has what was gradient_checkpointing_enable, which warns there."""


def prepared(accelerator: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
    """The two as accelerate trains with them; on fake tensors the model stays where it is, and no other rank is spoken to."""
    if any(isinstance(parameter, FakeTensor) for parameter in model.parameters()):
        return accelerator.prepare_model(model, device_placement=False, evaluation_mode=True), accelerator.prepare_optimizer(optimizer)
    both: tuple[Any, Any] = accelerator.prepare(model, optimizer)
    return both


def gradients(model: nn.Module) -> list[torch.Tensor]:
    """What a backward pass left behind: one for each tensor that an update changes."""
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def loss_of(forward: Any, ids: torch.Tensor, *, use_cache: bool = False) -> torch.Tensor:
    """Cross-entropy of the next token, by one forward pass.

    Args:
        forward: a causal language model of transformers, or what wraps one.
        ids: B x T token ids, inputs and labels at once.
        use_cache: fill a cache that nobody reads, as every other phase is counted: a convolution over fewer tokens than its
            filter is long then runs over the filter's length, which a step without one is spared.
    """
    loss: torch.Tensor = forward(input_ids=ids, labels=ids, use_cache=use_cache).loss
    return loss


def _micro_batches(batch: Batch, number: int, device: torch.device) -> tuple[Batch, ...]:
    if isinstance(batch, torch.Tensor):
        return tuple(batch.to(device).chunk(number))
    assert number == 1, "named inputs are not cut: their first dimension need not be the sample's"
    return ({name: tensor.to(device) for name, tensor in batch.items()},)


def _is_partly_frozen(model: nn.Module) -> bool:
    return not all(parameter.requires_grad for parameter in model.parameters())


def _checkpoint_layers(model: Any) -> None:
    """Have every layer computed again in the backward pass; beside frozen weights the embedding's result then needs a gradient."""
    how = {"use_reentrant": False}
    if _is_partly_frozen(model):
        model.enable_input_require_grads()
    if hasattr(model, RENAMED):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)


def _keep_activations(model: Any) -> None:
    """Undo _checkpoint_layers."""
    if _is_partly_frozen(model):
        model.disable_input_require_grads()
    (model.activation_checkpointing_disable if hasattr(model, RENAMED) else model.gradient_checkpointing_disable)()


class TrainingStep:
    """Forward, loss, backward and update of a model on one fixed batch, through accelerate, on real or on fake tensors.

    Weights, gradients and the optimizer's state have the model's dtype; forward and backward run under autocast where
    the accelerator has a mixed precision.

    As a context it frees its gradients at the end and gives the model back as it was.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        accelerator: Any,
        *,
        optimizer: str,
        learning_rate: float,
        loss: Callable[[Any, Any], torch.Tensor] = loss_of,
        recompute: str = "none",
        accumulation: int = 1,
        compiled: bool = False,
    ) -> None:
        """Makes the model ready for training.

        Args:
            batch: B x T token ids of one step, or what `loss` takes in their place.
            accelerator: of accelerate; it decides on device, ranks and mixed precision.
            optimizer, learning_rate: see `optimizer_of`; it has what needs a gradient.
            loss: of the wrapped model on a micro-batch.
            recompute: "full" computes every layer again in the backward pass, "none" nothing.
            accumulation: backward passes before an update, each of B / accumulation sequences.
        """
        assert not isinstance(batch, torch.Tensor) or batch.shape[0] % accumulation == 0, accumulation
        self._was_training, self._recompute = model.training, recompute
        self._own_forward = model.__dict__.get("forward")
        if recompute == "full":
            _checkpoint_layers(model)
        model.train()
        accelerator.gradient_accumulation_steps = accumulation
        self._model, self._accelerator = model, accelerator
        new = optimizer_of(optimizer, model, learning_rate)
        self._prepared, self._optimizer = prepared(accelerator, model, new)
        self._forward: Any = torch.compile(self._prepared) if compiled else self._prepared
        self._loss, self._micro_batches = loss, _micro_batches(batch, accumulation, accelerator.device)

    def __call__(self) -> torch.Tensor:
        """One step; returns its mean loss, off the graph and still on the device."""
        loss = self.forward_backward()
        self.update()
        return loss

    def forward_backward(self) -> torch.Tensor:
        """The step without its update, which leaves its gradients behind; returns the mean loss."""
        self.forget()
        losses, last = [], len(self._micro_batches) - 1
        for index in range(last + 1):
            with nullcontext() if index == last else self._accelerator.no_sync(self._prepared):
                loss = self.forward(index)
                self.backward(loss)
            losses.append(loss.detach())
        return losses[0] if last == 0 else torch.stack(losses).mean()

    def forget(self) -> None:
        """Free the gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def forward(self, micro_batch: int = 0) -> torch.Tensor:
        """The loss of one micro-batch, with its graph."""
        return self._loss(self._forward, self._micro_batches[micro_batch])

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss, added to those that are there."""
        self._accelerator.backward(loss)

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]:
        """What the optimizer keeps of each parameter."""
        kept: Mapping[Any, Mapping[str, Any]] = self._optimizer.state
        return kept

    def update(self) -> None:
        """The optimizer's turn."""
        self._optimizer.step()

    def __enter__(self) -> TrainingStep:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        self._give_back()
        if self._recompute == "full":
            _keep_activations(self._model)
        self._model.train(self._was_training)

    def _give_back(self) -> None:
        """The model without what accelerate put on it.

        Its own way takes transformers' decorators off with its autocast, and leaves the mark by which the next accelerator passes
        the model over, so that a second step would run without autocast.
        """
        for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
            self._model.__dict__.pop(name, None)
        if self._own_forward is not None:
            self._model.forward = self._own_forward
