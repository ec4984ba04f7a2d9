"""Whether a loss was divided by the number of accumulated batches before it was given, as its graph tells."""

from __future__ import annotations

import math
from typing import Any

_DIVISIONS = {"DivBackward0": lambda factor: 1 / factor, "MulBackward0": lambda factor: factor}
"""Last operation of a loss -> from its number to the share of the loss before it."""

_WHOLE_LOSSES = ("Mean", "NllLoss", "CrossEntropy", "MseLoss", "L1Loss", "SmoothL1", "Huber", "BinaryCrossEntropy", "KlDiv", "SoftMargin")
"""What a batch's whole loss ends with. One that is a sum over its tokens is rather divided by their number."""


def was_divided(loss: Any, num_batches: int) -> bool:
    """Whether a loss is a whole one over the number of batches of its step.

    The number is read off the graph. After a backward pass, which frees it, a division whose operand is a whole loss counts as one.

    >>> import torch
    >>> whole = torch.ones(3, requires_grad=True).mean()
    >>> was_divided(whole, 4), was_divided(whole / 4, 4), was_divided(whole * 0.25, 4), was_divided(whole / 2, 4)
    (False, True, True, False)
    """
    node = getattr(loss, "grad_fn", None)
    if num_batches == 1 or node is None or node.name() not in _DIVISIONS:
        return False
    try:
        factor = node._saved_other
    except RuntimeError:  # freed by backward
        operand = node.next_functions[0][0]
        return operand is not None and operand.name().startswith(_WHOLE_LOSSES)
    if factor is None or factor.numel() != 1 or factor.device.type != "cpu" or not float(factor):
        return False
    return math.isclose(_DIVISIONS[node.name()](float(factor)), 1 / num_batches)
