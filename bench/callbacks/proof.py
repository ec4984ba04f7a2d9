"""Evidence that a watched training trained: a loss that is finite and fell beyond its scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from bench.records.proof import Proof
from bench.records.record import Finding
from estimators.errors import BadValueError


def scalar_loss(value: Any) -> Any:
    """A loss as it was given, off the graph of its gradients: a number, or a tensor that stays on a device that is not to be waited for.

    Raises:
        BadValueError: not one number.
    """
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise BadValueError(f"a loss of shape {tuple(value.shape)}; expected one number, such as its mean")
        plain = value.detach()
        return plain.item() if type(plain) is torch.Tensor and plain.is_cpu else plain
    if getattr(value, "size", None) == 1 and hasattr(value, "item"):  # numpy's
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValueError(f"a loss of type {type(value).__name__}; expected a number or a scalar tensor")
    return value


def loss_proof(losses: Sequence[float], params_finite: bool = True) -> tuple[Proof, tuple[Finding, ...]]:
    """First and last loss, as a record keeps them: means over the first and the last quarter of the steps.

    Single batches scatter, so a last loss that is above the first by no more than twice the standard error of the two
    means is no failure; it is left out, and a finding says so. The scatter of one step is that of the differences of
    neighbours, over sqrt 2. Losses that are all the same are kept: they did not fall.

    >>> loss_proof([4.0, 3.0, 2.0, 1.0])[0]
    Proof(loss_finite=True, loss_first=4.0, loss_last=1.0)
    >>> loss_proof([2.0, 2.0])[0]
    Proof(loss_finite=True, loss_first=2.0, loss_last=2.0)
    """
    if not losses and params_finite:
        return Proof(), (
            Finding(code="NoLoss", text="no loss was given, so that it fell is not shown", advice="give it with watch.loss(loss)"),
        )
    if not params_finite or not all(map(math.isfinite, losses)):
        return Proof(loss_finite=False, loss_first=None, loss_last=None), ()
    size = max(1, len(losses) // 4)
    first, last = sum(losses[:size]) / size, sum(losses[-size:]) / size
    error = _scatter(losses) * math.sqrt(2 / size)
    if len(losses) == 1 or (last >= first and error > 0 and last - first <= 2 * error):
        text = f"the loss did not fall beyond its scatter in {len(losses)} steps: {first:.4g} to {last:.4g}"
        return Proof(loss_finite=True), (Finding(code="LossFlat", text=text, advice="watch more steps to see that it trains"),)
    return Proof(loss_finite=True, loss_first=first, loss_last=last), ()


def _scatter(losses: Sequence[float]) -> float:
    differences = [after - before for before, after in pairwise(losses)]
    if len(differences) < 3:
        return 0.0
    mean = sum(differences) / len(differences)
    return math.sqrt(sum((d - mean) ** 2 for d in differences) / (len(differences) - 1) / 2)
