"""What an optimizer's step takes by the size of a parameter, as torch runs it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import torch

from bench.backend.device import Device
from bench.backend.random_data import drawn
from estimators.local_time import Piece

BYTES_PER_PARAM = {"adamw": 28, "sgd": 12}
"""fp32, each tensor once: AdamW reads weight, gradient and two moments and writes all but the gradient; SGD only the weight."""
SIZES = {"quick": (16, 65_536, 4_194_304), "whole": (16, 1024, 65_536, 1_048_576, 4_194_304, 33_554_432)}
_FEW, _MANY = 2, 64
STATE_TENSORS = {"adamw": 4, "sgd": 2}


def pieces(shapes: Iterable[int], optimizer: str) -> list[Piece]:
    """One piece for every size of parameter, `shapes` being the elements of each."""
    counted = Counter(shapes)
    return [piece(size, optimizer, count) for size, count in sorted(counted.items())]


def piece(num_params: int, optimizer: str, count: int = 1) -> Piece:
    """The update of one parameter tensor."""
    return Piece(
        key=f"{optimizer}(fp32[{num_params}])",
        kind=optimizer,
        group="optimizer",
        dtype="fp32",
        count=count,
        num_bytes=num_params * BYTES_PER_PARAM[optimizer],
    )


def sample(num_params: int, optimizer: str, device: Device, *, cache_bytes: int, num_steps: int) -> tuple[float, ...]:
    """Seconds per parameter tensor of that size, of so many that their state has left the caches by their next turn.

    Small tensors come many at a time, as in a model, so that the cost of a call of `step` is spread as there.
    """
    held_bytes = 4 * num_params * STATE_TENSORS[optimizer]
    copies = min(_MANY, max(_FEW, math.ceil(2 * cache_bytes / held_bytes)))
    copies = max(1, min(copies, device.memory_available_bytes() // 3 // held_bytes))
    params = [torch.nn.Parameter(drawn(num_params, dtype=torch.float32, device=device.torch_device)) for _ in range(copies)]
    for param in params:
        param.grad = drawn(num_params, dtype=torch.float32, device=device.torch_device)
    made = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer](params, lr=1e-6)
    clock = device.clock()
    made.step()
    return tuple(clock.time(made.step) / copies for _ in range(num_steps))
