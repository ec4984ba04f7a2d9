"""Accelerate's engine for one training: device, precision and ranks, and reductions over the ranks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration

from bench.request import Request
from estimators.errors import BadValueError, UnavailableError

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
"""Our dtypes as accelerate's mixed precision: weights stay fp32, matrix products run in the dtype."""


@contextmanager
def engine(request: Request) -> Iterator[Accelerator]:
    """An Accelerator for the request's device and dtype. Batches are shared between ranks, so the global batch is the request's.

    Raises:
        BadValueError: an unknown device or dtype, or one that the device cannot train in.
        UnavailableError: a device that is not there.
    """
    dtype = request.dtype
    if dtype is not None and dtype not in PRECISIONS:
        raise BadValueError(f"dtype {dtype!r} cannot be trained in here; expected one of: {', '.join(PRECISIONS)}")
    on_cpu = _on_cpu(request.device)
    if on_cpu and dtype == "fp16":
        raise BadValueError("dtype fp16 needs a GPU to train; expected fp32 or bf16 on the CPU")
    first = not AcceleratorState._shared_state
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision=None if dtype is None else PRECISIONS[dtype],
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        rng_types=[],  # the loaders' own generators are seeded alike on every rank
    )
    try:
        yield accelerator
    finally:
        accelerator.free_memory()
        GradientState._reset_state()
        if first:  # so that the next training in this process may use another dtype or device
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


def _on_cpu(device: str | None) -> bool:
    """Whether a training runs on the CPU; a CUDA index becomes the current device."""
    if device is None:
        return os.environ.get("ACCELERATE_USE_CPU", "").casefold() in ("1", "true") or not torch.accelerator.is_available()
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise BadValueError(f"device {device[:40]!r} is unknown; expected for example cpu, cuda, cuda:1 or mps") from None
    if wanted.type == "cpu":
        return True
    there = torch.accelerator.current_accelerator()
    if not torch.accelerator.is_available() or there is None or there.type != wanted.type:
        raise UnavailableError(f"no {wanted.type} device on this machine; it has: {there.type + ', ' if there else ''}cpu; choose with --device")
    if wanted.index is not None:
        if wanted.index >= torch.accelerator.device_count():
            raise UnavailableError(f"no device {device!r} on this machine; it has {torch.accelerator.device_count()} of {wanted.type}, from 0")
        torch.accelerator.set_device_index(wanted.index)
    return False


def synchronizer(accelerator: Accelerator) -> Callable[[], None]:
    """What waits until the device has done all that was asked of it; nothing to wait for on a CPU."""
    if accelerator.device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(accelerator.device)


def slowest(accelerator: Accelerator, seconds: Sequence[float]) -> tuple[float, ...]:
    """Per step the time of the slowest rank: the others waited for it. Every rank must have taken the same steps."""
    if accelerator.num_processes == 1:
        return tuple(seconds)
    times = torch.tensor(seconds, dtype=torch.float64, device=accelerator.device)
    return tuple(accelerator.gather(times).view(accelerator.num_processes, -1).amax(0).tolist())


def summed(accelerator: Accelerator, count: int) -> int:
    """A count summed over the ranks."""
    return int(accelerator.reduce(torch.tensor(count, device=accelerator.device), "sum"))


def largest(accelerator: Accelerator, value: float) -> float:
    """The largest of a value over the ranks."""
    return float(accelerator.gather(torch.tensor([value], dtype=torch.float32, device=accelerator.device)).amax())
