"""Which dtype a CPU multiplies faster: bf16 halves the bytes of weights, but not every CPU has instructions for it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from bench.backend.device import dtype
from bench.backend.random_data import drawn
from bench.sampling.clock import HostClock, Step
from bench.statistics import robust
from estimators.units import MEBI

CANDIDATES = ("fp32", "bf16")
WORKING_SET_BYTES = 256 * MEBI
"""Of weights, in each dtype: more than the caches hold, as a model's weights are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FasterDtype:
    """The outcome.

    Attributes:
        winner: the dtype with the lesser median.
        samples_s: raw times of one product, by dtype; empty where the CPU cannot multiply in it.
        shape: what was multiplied.
    """

    winner: str
    samples_s: dict[str, tuple[float, ...]]
    shape: str


def faster_dtype_cpu(m: int, n: int, k: int, *, max_time_s: float = 2.0, rounds: int = 15) -> FasterDtype:
    """Time x[m, k] · W[n, k]ᵀ, the product of a linear layer, in fp32 and bf16, interleaved.

    Every product reads another copy of W, so that the weights come from memory and not from a cache.

    Args:
        m, n, k: rows of activations, outputs, inputs.
        max_time_s: for the rounds; three are done however long they take.
        rounds: at most.
    """
    clock = HostClock()
    steps = {name: step for name in CANDIDATES if (step := _product(m, n, k, name)) is not None}
    samples_s: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    with torch.inference_mode():
        start_s = clock.now()
        for done in range(rounds):
            if done >= 3 and clock.now() - start_s > max_time_s:
                break
            for name, step in steps.items():
                samples_s[name].append(clock.time(step))
    winner = min(steps, key=lambda name: robust.median(samples_s[name]))
    return FasterDtype(winner=winner, samples_s={name: tuple(s) for name, s in samples_s.items()}, shape=f"x[{m}, {k}] · W[{n}, {k}]ᵀ")


def _product(m: int, n: int, k: int, name: str) -> Step | None:
    kind = dtype(name)
    cpu = torch.device("cpu")
    copies = [drawn(n, k, dtype=kind, device=cpu) for _ in range(math.ceil(WORKING_SET_BYTES / (n * k * kind.itemsize)))]
    x = drawn(m, k, dtype=kind, device=cpu)
    following = itertools.cycle(copies)

    def step() -> None:
        torch.nn.functional.linear(x, next(following))

    try:
        with torch.inference_mode():
            step()
            step()
    except RuntimeError:
        return None
    return step
