"""Evidence that something was learned from: the gradient that the last step left behind."""

from __future__ import annotations

import math

import torch
from torch import nn


def gradient_norm(model: nn.Module) -> float | None:
    """Euclidean norm of the gradients as they stand, over what this rank holds; None where there are none, or one is no number.

    A norm of 0 means that nothing is being trained, however busy the device is.
    """
    with torch.no_grad():
        norms = [torch.linalg.vector_norm(p.grad.float()) for p in model.parameters() if p.grad is not None]
        total = float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))) if norms else math.nan
    return total if math.isfinite(total) else None
