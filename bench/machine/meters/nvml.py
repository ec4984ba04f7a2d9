"""NVIDIA's management library: which GPUs this process sees, found by UUID, and what each is.

NVML numbers GPUs by PCI bus and knows nothing of CUDA_VISIBLE_DEVICES; CUDA puts the fastest first and renumbers.
An index of one is therefore never used for the other: devices are found by UUID.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.machine.meters import cuda_mask
from bench.records.environment import Gpu
from estimators.errors import UnavailableError
from estimators.units import KILO

CLOCK_SM, CLOCK_MEMORY = 1, 2
TEMPERATURE_GPU = 0
PERF_POLICY_POWER, PERF_POLICY_THERMAL = 0, 1
"""Arguments of NVML's questions. Source: nvml.h; a package that lacks a name still takes its number."""


@contextmanager
def session(library: Any = None) -> Iterator[Any]:
    """The library, initialised, and shut down afterwards.

    Args:
        library: pynvml, or a fake of it; None imports pynvml.

    Raises:
        UnavailableError: not installed, another package of that name, or no NVIDIA driver on this machine.
    """
    if library is None:
        try:
            import pynvml as library  # type: ignore[no-redef]
        except ImportError:
            raise UnavailableError("NVML cannot be read: the package nvidia-ml-py is not installed") from None
        except Exception as error:  # an old package of that name is not even Python 3
            raise UnavailableError(f"NVML cannot be read: the package pynvml does not import: {_said(error)}") from None
    _, reason = ask(library, "nvmlInit", of=lambda _: True)
    if reason:
        raise UnavailableError(f"NVML cannot be read: {reason.removeprefix('nvmlInit: ')}") from None
    try:
        yield library
    finally:
        ask(library, "nvmlShutdown")


def ask(library: Any, function: str, *arguments: Any, of: Callable[[Any], Any] = lambda answer: answer) -> tuple[Any, str]:
    """What one NVML function answers, and ""; or None and why there is no answer.

    Whatever a package raises that is not ours to choose (another one of the same name, an older one, one that lacks the
    function) is a reason, and costs this figure alone.

    Args:
        of: makes the figure of the answer; one that it cannot be made of is no answer.
    """
    asked = getattr(library, function, None)
    if asked is None:
        return None, f"{function}: the installed package pynvml has no such function; pip install -U nvidia-ml-py"
    try:
        figure = of(asked(*arguments))
    except Exception as error:
        return None, f"{function}: {_said(error)}"
    return figure, f"{function} gave no answer" if figure is None else ""


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _text(answer: str | bytes) -> str:
    """Packages before 11.5 answer in bytes."""
    return answer.decode("utf-8", errors="replace") if isinstance(answer, bytes) else "".join(answer)


def _demand(library: Any, function: str, *arguments: Any, of: Callable[[Any], Any]) -> Any:
    answer, reason = ask(library, function, *arguments, of=of)
    if reason:
        raise UnavailableError(f"the GPUs cannot be listed: {reason}")
    return answer


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
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process.

    Raises:
        UnavailableError: NVML does not list the machine's GPUs.
    """
    num_gpus = _demand(library, "nvmlDeviceGetCount", of=int)
    handles = [_demand(library, "nvmlDeviceGetHandleByIndex", i, of=lambda handle: handle) for i in range(num_gpus)]
    uuids = [_demand(library, "nvmlDeviceGetUUID", handle, of=_text) for handle in handles]
    names = {ask(library, "nvmlDeviceGetName", handle, of=_text)[0] for handle in handles}
    order_note = ""
    if len(names) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        order_note = "unlike GPUs and CUDA_DEVICE_ORDER is not PCI_BUS_ID: CUDA's order may differ from this list's"
    asked = environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return Visible(uuids=tuple(uuids), note=order_note)
    ordinals, hidden = cuda_mask.chosen(asked, uuids)
    return Visible(uuids=tuple(uuids[ordinal] for ordinal in ordinals), note=hidden or order_note)


def slice_reason(library: Any, uuid: str) -> str:
    """One line where a device is a slice of a GPU, or a GPU that is divided (MIG); empty where it is whole, or NVML does not tell."""
    handle, _ = ask(library, "nvmlDeviceGetHandleByUUID", uuid)
    if handle is None:
        slice_uuid = f"MIG-{uuid.removeprefix('GPU-')}"
        known = ask(library, "nvmlDeviceGetHandleByUUID", slice_uuid)[0] is not None
        return f"{slice_uuid} is a slice of a GPU (MIG)" if known else ""
    divided, _ = ask(library, "nvmlDeviceGetMigMode", handle, of=lambda now_and_next: bool(int(now_and_next[0])))
    return f"{uuid} is divided (MIG)" if divided else ""


def describe(library: Any, uuid: str) -> Gpu:
    """What one GPU is and how it is set; what it does not answer is None, with the reason in `unavailable`."""
    described: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    handle, reason = ask(library, "nvmlDeviceGetHandleByUUID", uuid)
    if handle is None:
        return Gpu(uuid=uuid, unavailable={"gpu": reason})
    for name, function, convert in (
        ("name", "nvmlDeviceGetName", _text),
        ("memory_total_bytes", "nvmlDeviceGetMemoryInfo", lambda info: int(info.total)),
        ("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", lambda milliwatt: milliwatt / KILO),
        ("ecc", "nvmlDeviceGetEccMode", lambda now_and_next: bool(int(now_and_next[0]))),
        ("mig", "nvmlDeviceGetMigMode", lambda now_and_next: bool(int(now_and_next[0]))),
        ("persistence", "nvmlDeviceGetPersistenceMode", bool),
        ("vbios", "nvmlDeviceGetVbiosVersion", _text),
    ):
        described[name], reason = ask(library, function, handle, of=convert)
        if reason:
            unavailable[name] = reason
    told = Gpu(uuid=uuid, **described)
    return told.replaced(unavailable=unavailable) if unavailable else told
