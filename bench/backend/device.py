"""The device that a run uses: its clock, its memory, what it is."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.machine.device_name import kind_and_index
from bench.machine.environment import cpu_cache_bytes, cpu_model
from bench.machine.meters import memory, nvml
from bench.machine.meters.readings import Readings
from bench.records.environment import DeviceFacts
from bench.sampling.clock import Clock, HostClock, empty_reading_s, nothing
from estimators.errors import BadValueError, UnavailableError
from estimators.spec import Hardware
from estimators.units import KILO


class EventClock:
    """Times a step by two events in the queue of one CUDA device's current stream.

    The queue is empty before the first event, so the time includes the launch of the first kernel, as a lone
    step's does. Work that a step starts on other streams and does not join is not seen.
    """

    name = "device-event"

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.resolution_s = empty_reading_s(self)

    def now(self) -> float:
        return time.perf_counter()

    def time(self, step: Callable[[], object]) -> float:
        with torch.cuda.device(self._device):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            step()
            end.record()
            torch.cuda.synchronize()
            return float(start.elapsed_time(end)) / KILO


DTYPES: dict[str, torch.dtype] = {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype(name: str) -> torch.dtype:
    """torch's name for one of ours. Raises BadValueError for a dtype that no step computes in."""
    if name not in DTYPES:
        raise BadValueError(f"cannot compute in dtype {name[:40]!r}; expected one of: {', '.join(DTYPES)}")
    return DTYPES[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device.

    Attributes:
        kind: cpu, cuda, mps.
        index: torch's number among the visible devices of its kind.
        name: as the driver gives it; the processor's model on a CPU.
        uuid: as NVML writes it; None where there is none.
    """

    kind: str
    index: int
    name: str
    uuid: str | None = None

    @property
    def torch_device(self) -> torch.device:
        """torch's object for it."""
        return torch.device("cpu") if self.kind == "cpu" else torch.device(self.kind, self.index)

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bf16 without emulating it."""
        return self.kind != "cuda" or bool(torch.cuda.is_bf16_supported(including_emulation=False))

    def clock(self) -> Clock:
        """Device events on CUDA; else the host's clock around a wait for the device."""
        return EventClock(self.torch_device) if self.kind == "cuda" else HostClock(self.synchronize if self.kind == "mps" else nothing)

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.index)
        elif self.kind == "mps":
            torch.mps.synchronize()

    @property
    def memory_total_bytes(self) -> int:
        """As the driver shows it; on CPU and MPS the host's, or the container's limit."""
        if self.kind == "cuda":
            return int(torch.cuda.get_device_properties(self.index).total_memory)
        return memory.host_memory().total_bytes

    def cache_bytes(self) -> int:
        """What the device's last cache holds, on a CPU all of them together; 0 where the system does not tell."""
        if self.kind == "cuda":
            return int(torch.cuda.get_device_properties(self.index).L2_cache_size)
        return cpu_cache_bytes()

    def memory_available_bytes(self) -> int:
        """What could be allocated now, what torch holds without using it included."""
        if self.kind == "cuda":
            free_bytes = torch.cuda.mem_get_info(self.index)[0]
            return int(free_bytes + torch.cuda.memory_reserved(self.index) - torch.cuda.memory_allocated(self.index))
        return memory.host_memory().available_bytes

    def reset_peak(self) -> bool:
        """Reset the peaks; False where peak RSS cannot be, and is then since the process began."""
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats(self.index)
        return memory.reset_peak_rss()

    def peak_memory(self) -> Readings:
        """Peaks since `reset_peak`: peak_rss of the host process, torch_allocated and torch_reserved of torch's allocator.

        They measure different things and are never added or compared: pages of the host, bytes in tensors, bytes
        that torch keeps of the device.
        """
        rss = memory.peak_rss()
        names = ("torch_allocated", "torch_reserved")
        if self.kind != "cuda":
            reason = f"torch's allocator keeps no peak on {self.kind}"
            return Readings(values={**rss.values, **dict.fromkeys(names)}, unavailable={**rss.unavailable, **dict.fromkeys(names, reason)})
        peaks = (torch.cuda.max_memory_allocated(self.index), torch.cuda.max_memory_reserved(self.index))
        return Readings(values={**rss.values, **dict(zip(names, peaks, strict=True))}, unavailable=rss.unavailable)

    def hardware(self) -> Hardware | None:
        """The registry's entry for it; None for a CPU, for a device that the registry does not know, and for a slice of one."""
        if self.kind != "cuda" or self.slice_reason():
            return None
        from estimators.facts import registry

        return registry.hardware_for_device(self.name, self.memory_total_bytes)

    def slice_reason(self) -> str:
        """One line where it is a slice of a GPU (MIG), by its name or by NVML, whose peaks are not the whole one's; else empty."""
        return _slice_reason(self.name, self.uuid) if self.kind == "cuda" else ""

    def describe(self) -> DeviceFacts:
        """What a record says of it: identity, and torch's settings that change its speed."""
        described = DeviceFacts(kind=self.kind, index=self.index, name=self.name, uuid=self.uuid)
        described |= DeviceFacts(memory_total_bytes=self.memory_total_bytes, num_threads=torch.get_num_threads())
        described |= DeviceFacts(torch=str(torch.__version__), float32_matmul_precision=torch.get_float32_matmul_precision())
        if self.kind == "cpu":
            described |= DeviceFacts(cpu_capability=torch.backends.cpu.get_cpu_capability())
        if self.kind == "cuda":
            capability = ".".join(str(part) for part in torch.cuda.get_device_capability(self.index))
            versions = DeviceFacts(cuda=torch.version.cuda, hip=torch.version.hip, cudnn=torch.backends.cudnn.version())
            described |= DeviceFacts(compute_capability=capability) | versions
        return described


@functools.cache
def _slice_reason(name: str, uuid: str | None) -> str:
    if "MIG" in name.split():
        return f"{name} is a slice of a GPU (MIG)"
    if uuid is None:
        return ""
    try:
        with nvml.session() as library:
            return nvml.slice_reason(library, uuid)
    except UnavailableError:  # without NVML, by the name alone
        return ""


def choose(name: str | None = None) -> Device:
    """The device asked for; None takes the first CUDA device, else the CPU (MPS only when asked for).

    Raises:
        BadValueError: no name of a device.
        UnavailableError: the device is not there.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, index = kind_and_index(name)
    if kind == "cuda":
        return _cuda(index)
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise UnavailableError("device 'mps' needs an Apple GPU and a torch built for it; run with --device cpu")
        return Device(kind=kind, index=0, name="Apple GPU (MPS)")
    return Device(kind=kind, index=0, name=cpu_model() or "CPU of unknown model")


def _cuda(index: int) -> Device:
    if not torch.backends.cuda.is_built():
        raise UnavailableError(
            f"no CUDA: this torch ({torch.__version__}) was built without it; run with --device cpu, or install a CUDA build"
        )
    if not torch.cuda.is_available():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "torch finds no driver or device" if hidden is None else f"CUDA_VISIBLE_DEVICES={hidden[:40]!r} leaves none"
        raise UnavailableError(f"no CUDA device: {why}; run with --device cpu")
    if index >= torch.cuda.device_count():
        raise UnavailableError(f"no device cuda:{index}: {torch.cuda.device_count()} visible, numbered from 0")
    properties = torch.cuda.get_device_properties(index)
    uuid = getattr(properties, "uuid", None)
    return Device(kind="cuda", index=index, name=properties.name, uuid=None if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}")
