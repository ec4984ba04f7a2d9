"""Evidence that a training trained: the gradient that the last step left behind, and parameters that moved."""

from __future__ import annotations

import math

import torch
from torch import nn

MAX_SAMPLED_ELEMENTS = 4096
"""Of each parameter tensor: a copy of all elements would need as much memory again."""


def gradient_norm(model: nn.Module) -> float | None:
    """Euclidean norm of the gradients as they stand, over what this rank holds; None where there are none, or one is not a number.

    A norm of 0 means that nothing is being trained, however busy the device is.
    """
    with torch.no_grad():
        norms = [torch.linalg.vector_norm(p.grad.float()) for p in model.parameters() if p.grad is not None]
        total = float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))) if norms else math.nan
    return total if math.isfinite(total) else None


class SampledParameters:
    """Elements of every trained parameter as they were, to see whether an optimizer changed each of them.

    Of a tensor of n elements every ceil(n / MAX_SAMPLED_ELEMENTS)-th is kept, of a sharded one those of this rank's shard.

    Args:
        matrices_alone: whether vectors are left out, as of 16-bit weights: a gain of 1.0 stays one in a step below 2^-9.
    """

    def __init__(self, model: nn.Module, *, matrices_alone: bool = False) -> None:
        known = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._trained = {name: parameter for name, parameter in known.items() if parameter.dim() > 1 or not matrices_alone}
        self._before = self._now()

    def _now(self) -> dict[str, torch.Tensor]:
        return {name: _sample(parameter).clone() for name, parameter in self._trained.items()}

    def unchanged(self) -> tuple[str, ...]:
        """Names of the trained tensors whose sampled elements are all the numbers that they were; an empty shard has none."""
        return tuple(name for name, now in self._now().items() if now.numel() and torch.equal(self._before[name], now))

    def changed(self, *, reached: bool = False) -> bool:
        """Whether there is something trained and every trained tensor changed: `proof.params_changed` of a record.

        Args:
            reached: whether only tensors count that the last backward pass left a gradient for: of a tower, the layers behind the one
                whose features are read have none.
        """
        left = {name for name, parameter in self._trained.items() if reached and parameter.grad is None}
        return any(self._before[name].numel() for name in self._before.keys() - left) and not set(self.unchanged()) - left

    def finite(self) -> bool:
        """Whether all sampled elements are numbers."""
        return all(bool(torch.isfinite(now).all()) for now in self._now().values())


def _sample(parameter: torch.Tensor) -> torch.Tensor:
    own = parameter.detach()
    own = own.to_local() if hasattr(own, "to_local") else own
    return own.reshape(-1)[:: max(1, math.ceil(own.numel() / MAX_SAMPLED_ELEMENTS))]
