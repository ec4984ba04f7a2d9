"""What every measured run does before its work: hold the memory against the machine, count, measure the ceilings."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bench.backend.ceilings import bandwidth_ceiling, cache_bytes, matmul_ceiling
from bench.backend.device import Device
from bench.draft import Draft
from estimators.errors import DoesNotFitError
from estimators.units import GIBI, format_bytes

RUNTIME_BYTES = GIBI
"""Beside the model: Python, torch and transformers, and the kernels' scratch space."""


def demanded_bytes(parts: Mapping[str, int]) -> int:
    """What a run must find free: its parts and the runtime around them."""
    return sum(parts.values()) + RUNTIME_BYTES


def demand_memory(what: str, parts: Mapping[str, int], device: Device, mend: str) -> None:
    """Hold the memory estimate against what the device has, before anything is allocated.

    Args:
        parts: bytes by part.
        mend: how to make it fit.

    Raises:
        DoesNotFitError: one line: what is needed, what there is, which flag makes it fit.
    """
    needed, available = demanded_bytes(parts), device.memory_available_bytes()
    if needed > available:
        listed = ", ".join(f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in parts.items())
        raise DoesNotFitError(
            f"{what} needs {format_bytes(needed)} ({listed}, runtime {format_bytes(RUNTIME_BYTES)}); "
            f"{device.name} has {format_bytes(available)} free; {mend}"
        )


def add_ceilings(draft: Draft, device: Device, dtype: str) -> None:
    """Matmul and bandwidth rates of this machine, measured just before the run, and the caches that may beat the second."""
    draft.environment.setdefault("device", {})["cache_bytes"] = (
        torch.cuda.get_device_properties(device.index).L2_cache_size if device.kind == "cuda" else cache_bytes()
    )
    for ceiling in (matmul_ceiling(device, dtype), bandwidth_ceiling(device)):
        draft.ceilings.append(ceiling)


def add_peak_memory(draft: Draft, device: Device) -> None:
    """Peaks since the device's were reset."""
    readings = device.peak_memory()
    draft.memory_bytes |= {name: None if value is None else int(value) for name, value in readings.values.items()}
    draft.unavailable |= readings.unavailable
