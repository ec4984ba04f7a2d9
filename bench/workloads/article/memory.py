"""Peak memory of a training, by instrument."""

from __future__ import annotations

import sys

import torch
from accelerate import Accelerator


def peak_memory(accelerator: Accelerator) -> tuple[dict[str, int | None], dict[str, str]]:
    """Bytes by instrument, the largest of the ranks, and the reason for each that is missing.

    peak_rss is the whole life of the process: what ran before in it counts.
    """
    found: dict[str, int | None] = {"peak_rss": _peak_rss_bytes(), "torch_allocated": None, "torch_reserved": None}
    if accelerator.device.type == "cuda":
        found["torch_allocated"] = torch.cuda.max_memory_allocated(accelerator.device)
        found["torch_reserved"] = torch.cuda.max_memory_reserved(accelerator.device)
    unavailable = {}
    for name, num_bytes in found.items():
        if num_bytes is None:
            unavailable[name] = "no such counter on this platform" if name == "peak_rss" else "torch counts no memory on this device"
        elif accelerator.num_processes > 1:
            found[name] = int(accelerator.gather(torch.tensor([num_bytes], device=accelerator.device)).amax())
    return found, unavailable


def _peak_rss_bytes() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
