"""Accelerate's engine for one training: device, precision and ranks, and reductions over the ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration

from bench.backend import device as devices
from bench.backend.device import Device
from bench.machine.ranks import by_itself

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
"""Our dtypes as accelerate's mixed precision: weights stay fp32, matrix products run in the dtype."""


@contextmanager
def engine(wanted: Device, dtype: str) -> Iterator[tuple[Accelerator, Device]]:
    """An Accelerator on the device in the dtype, and the device of this rank.

    Batches are split between the ranks, so that a run's batch is that of all ranks together.
    """
    ours = not AcceleratorState._shared_state
    with by_itself():
        if wanted.kind == "cuda" and "LOCAL_RANK" not in os.environ:  # several ranks take one device each
            torch.cuda.set_device(wanted.index)
        accelerator = Accelerator(
            cpu=wanted.kind == "cpu",
            mixed_precision=PRECISIONS[dtype],
            dataloader_config=DataLoaderConfiguration(split_batches=True),
            rng_types=[],  # the loaders' own generators are seeded alike on every rank
        )
    try:
        yield accelerator, devices.choose(str(accelerator.device))
    finally:
        accelerator.free_memory()
        GradientState._reset_state()
        if ours:  # accelerate keeps its first device and dtype for the whole process: the next training may want others
            AcceleratorState._reset_state(reset_partial_state=accelerator.num_processes == 1)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Torch on so many CPU threads inside; None leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def slowest(accelerator: Accelerator, seconds: Sequence[float]) -> tuple[float, ...]:
    """Per step the time of the slowest rank: the others waited for it. Every rank must have taken the same steps."""
    if accelerator.num_processes == 1:
        return tuple(seconds)
    times = torch.tensor(seconds, dtype=torch.float64, device=accelerator.device)
    return tuple(accelerator.gather(times).view(accelerator.num_processes, -1).amax(0).tolist())


def summed(accelerator: Accelerator, count: int) -> int:
    """A count summed over the ranks."""
    return int(accelerator.reduce(torch.tensor(count, device=accelerator.device), "sum"))


def any_rank(accelerator: Accelerator, flag: bool) -> bool:
    """Whether a flag is set on any rank; all ranks get the same answer."""
    return summed(accelerator, int(flag)) > 0
