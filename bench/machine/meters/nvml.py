"""NVIDIA's management library: which GPUs this process sees, found by UUID, and what each is.

NVML numbers GPUs by PCI bus and knows nothing of CUDA_VISIBLE_DEVICES; CUDA puts the fastest first and renumbers.
An index of one is therefore never used for the other: devices are found by UUID.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.records.environment import Gpu
from estimators.errors import UnavailableError
from estimators.units import KILO


@contextmanager
def session(library: Any = None) -> Iterator[Any]:
    """The library, initialised, and shut down afterwards.

    Args:
        library: pynvml, or a fake of it; None imports pynvml.

    Raises:
        UnavailableError: not installed, or no NVIDIA driver on this machine.
    """
    if library is None:
        try:
            import pynvml

            library = pynvml
        except ImportError:
            raise UnavailableError("NVML cannot be read: the package nvidia-ml-py is not installed") from None
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise UnavailableError(f"NVML cannot be read: {error}") from None
    try:
        yield library
    finally:
        library.nvmlShutdown()


def ask(library: Any, function: str, *arguments: Any) -> tuple[Any, str]:
    """What one NVML function answers, and "" ; or None and why the device does not answer."""
    try:
        return getattr(library, function)(*arguments), ""
    except library.NVMLError as error:
        return None, f"{function}: {error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """The GPUs that CUDA shows this process.

    Attributes:
        uuids: in CUDA's order as far as NVML can tell.
        note: why the list is empty, or its order not certain; empty where there is nothing to say.
    """

    uuids: tuple[str, ...]
    note: str = ""


def visible(library: Any, environ: Mapping[str, str] = os.environ) -> Visible:
    """Apply CUDA_VISIBLE_DEVICES: indices, UUIDs or their unambiguous beginnings; the first bad entry ends the list.

    Source: CUDA C++ Programming Guide, CUDA environment variables.
    """
    handles = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]
    uuids = [library.nvmlDeviceGetUUID(h) for h in handles]
    order_note = ""
    if len({library.nvmlDeviceGetName(h) for h in handles}) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        order_note = "unlike GPUs and CUDA_DEVICE_ORDER is not PCI_BUS_ID: CUDA's order may differ from this list's"
    asked = environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return Visible(uuids=tuple(uuids), note=order_note)
    chosen: list[str] = []
    for entry in (part.strip() for part in asked.split(",")):
        if entry.startswith("MIG-"):
            return Visible(uuids=tuple(chosen), note=f"{entry} is a slice of a GPU (MIG); NVML's counters are of whole GPUs")
        if entry.isdecimal():
            matches = uuids[int(entry) : int(entry) + 1]
        else:
            matches = [uuid for uuid in uuids if entry.startswith("GPU-") and uuid.startswith(entry)]
        if len(matches) != 1 or matches[0] in chosen:
            note = f"CUDA_VISIBLE_DEVICES={asked[:80]!r} hides all from {entry[:40]!r} on"
            return Visible(uuids=tuple(chosen), note=note)
        chosen += matches
    return Visible(uuids=tuple(chosen), note=order_note)


def describe(library: Any, uuid: str) -> Gpu:
    """What one GPU is and how it is set; what it does not answer is None, with the reason in `unavailable`."""
    described: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    handle, reason = ask(library, "nvmlDeviceGetHandleByUUID", uuid)
    if handle is None:
        return Gpu(uuid=uuid, unavailable={"gpu": reason})
    for name, function, convert in (
        ("name", "nvmlDeviceGetName", str),
        ("memory_total_bytes", "nvmlDeviceGetMemoryInfo", lambda info: int(info.total)),
        ("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", lambda milliwatt: milliwatt / KILO),
        ("ecc", "nvmlDeviceGetEccMode", lambda now_and_next: bool(now_and_next[0])),
        ("mig", "nvmlDeviceGetMigMode", lambda now_and_next: bool(now_and_next[0])),
        ("persistence", "nvmlDeviceGetPersistenceMode", bool),
        ("vbios", "nvmlDeviceGetVbiosVersion", str),
    ):
        answer, reason = ask(library, function, handle)
        described[name] = None if answer is None else convert(answer)
        if answer is None:
            unavailable[name] = reason
    told = Gpu(uuid=uuid, **described)
    return told.replaced(unavailable=unavailable) if unavailable else told
