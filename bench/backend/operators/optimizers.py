"""What an optimizer's step takes by the size of a parameter, as torch runs it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence

import torch

from bench.backend.device import Device
from bench.backend.random_data import drawn
from bench.backend.steps.optimizer import new_optimizer
from estimators.profile.operator_times import OperatorCall

BYTES_PER_PARAM = {"adamw": 28, "sgd": 12}
"""fp32, each tensor once: AdamW reads weight, gradient and two moments and writes all but the gradient; SGD only the weight."""
SIZES = {"quick": (16, 65_536, 4_194_304), "whole": (16, 1024, 65_536, 1_048_576, 4_194_304, 33_554_432)}
_FEW, _MANY = 2, 64
_TEMPORARIES = 2
MOST_PAUSE_S = 2.0
STATE_TENSORS = {"adamw": 4, "sgd": 2}


def pieces(shapes: Iterable[int], optimizer: str) -> list[OperatorCall]:
    """One piece for every size of parameter, `shapes` being the elements of each."""
    counted = Counter(shapes)
    return [piece(size, optimizer, count) for size, count in sorted(counted.items())]


def piece(num_params: int, optimizer: str, count: int = 1) -> OperatorCall:
    """The update of one parameter tensor."""
    return OperatorCall(
        key=f"{optimizer}(fp32[{num_params}])",
        kind=optimizer,
        group="optimizer",
        dtype="fp32",
        count=count,
        num_bytes=num_params * BYTES_PER_PARAM[optimizer],
    )


def sample_together(
    sizes: Sequence[int], optimizer: str, device: Device, *, num_steps: int, pause_s: float = 0.0
) -> tuple[float, ...] | None:
    """Seconds of one update of parameter tensors of all these sizes, as one optimizer holds them; None where they do not fit.

    Together they need temporary tensors of the size of all of them, which no sample of a few alone does.

    Args:
        pause_s: between two updates. On a CPU the temporary tensors go back to the system after each, and a virtual machine's
            system gives free pages back to its host in the meantime: the next update then waits for them twice. MOST_PAUSE_S at most.
    """
    held_bytes = 4 * sum(sizes) * (STATE_TENSORS[optimizer] + _TEMPORARIES)
    if held_bytes > device.memory_available_bytes():
        return None
    return _samples(sizes, optimizer, device, num_steps, min(pause_s, MOST_PAUSE_S) if device.kind == "cpu" else 0.0)


def _samples(sizes: Sequence[int], optimizer: str, device: Device, num_steps: int, pause_s: float = 0.0) -> tuple[float, ...]:
    params = [torch.nn.Parameter(drawn(size, dtype=torch.float32, device=device.torch_device)) for size in sizes]
    for param in params:
        param.grad = drawn(param.numel(), dtype=torch.float32, device=device.torch_device)
    updater = new_optimizer(optimizer, params, 1e-6)
    clock = device.clock()
    updater.step()
    samples_s = []
    for _ in range(num_steps):
        time.sleep(pause_s)
        samples_s.append(clock.time(updater.step))
    return tuple(samples_s)


def sample(num_params: int, optimizer: str, device: Device, *, cache_bytes: int, num_steps: int) -> tuple[float, ...]:
    """Seconds per parameter tensor of that size, of so many that their state has left the caches by their next turn.

    Small tensors come many at a time, as in a model, so that the cost of a call of `step` is spread as there.
    """
    held_bytes = 4 * num_params * STATE_TENSORS[optimizer]
    copies = min(_MANY, max(_FEW, math.ceil(2 * cache_bytes / held_bytes)))
    copies = max(1, min(copies, device.memory_available_bytes() // 3 // held_bytes))
    return tuple(seconds / copies for seconds in _samples([num_params] * copies, optimizer, device, num_steps))
