"""A product of matrices of known FLOP that lasts long enough to be timed: what a self-test runs."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from bench.backend.device import Device
from bench.backend.random_data import drawn

_SIDES = (128, 256, 512, 1024, 2048, 4096, 8192)
_TRIES = 10
"""Calls that a side is judged by, the fastest of them: first calls wait for threads to start."""


def matmul_kernel(device: Device, least_s: float) -> tuple[Callable[[], object], int, str]:
    """The smallest square product in fp32 that takes `least_s` here: one call, its FLOP (2 n^3), its shape."""
    clock, place = device.clock(), device.torch_device
    for side in _SIDES:
        x, weight = (drawn(side, side, dtype=torch.float32, device=place) for _ in range(2))
        step = functools.partial(_multiply, x, weight)
        step()
        if min(clock.time(step) for _ in range(_TRIES)) >= least_s:
            break
    return step, 2 * side**3, f"x[{side}, {side}] · W[{side}, {side}]ᵀ in fp32"


def _multiply(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.nn.functional.linear(x, weight)
