"""NVIDIA GPUs through NVML: driver, which this process sees, who else is on them, how they are set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from bench.machine.doctor.item import Item
from bench.machine.meters import gpu_throttle, nvml
from estimators.errors import UnavailableError
from estimators.extras import install_line
from estimators.units import format_bytes

GROUP = "gpu"
HARD_SLOWDOWNS = 0x08 | 0x20 | 0x40 | 0x80
"""All of gpu_throttle.SLOWDOWNS but the power cap, which is usual at full load."""


def items(library: Any = None, environ: Mapping[str, str] = os.environ) -> Iterator[Item]:
    """The driver, then every visible GPU."""
    try:
        with nvml.session(library) as opened:
            yield from _driver(opened)
            seen = nvml.visible(opened, environ)
            yield from _mask(seen, environ)
            for number, uuid in enumerate(seen.uuids):
                yield from _device(opened, uuid, f"GPU {number}")
    except UnavailableError as error:
        missing = "not installed" in str(error)
        yield Item(
            group=GROUP,
            what="NVML",
            found=str(error),
            verdict="costs",
            cost="no GPU is measured; on a machine with one, neither power, energy, clocks nor other users are read",
            mend=install_line("pynvml") if missing else "nothing, where there is no NVIDIA GPU; else install its driver",
        )


def _driver(library: Any) -> Iterator[Item]:
    version, reason = nvml.ask(library, "nvmlSystemGetDriverVersion")
    if version is None:
        yield Item(group=GROUP, what="driver", found=reason, verdict="costs", cost="the record lacks it", mend="update the driver")
    else:
        yield Item(group=GROUP, what="driver", found=str(version))


def _mask(seen: nvml.Visible, environ: Mapping[str, str]) -> Iterator[Item]:
    asked = environ.get("CUDA_VISIBLE_DEVICES")
    visible = f"{len(seen.uuids)} seen" + ("" if asked is None else f" with CUDA_VISIBLE_DEVICES={asked[:60]}")
    if seen.note:
        slices = "MIG" in seen.note
        yield Item(
            group=GROUP,
            what="visible GPUs",
            found=f"{visible}: {seen.note}",
            verdict="costs",
            cost="a slice's power, energy and clocks cannot be read" if slices else "another GPU may be described than the one used",
            mend="measure on a whole GPU" if slices else "set CUDA_VISIBLE_DEVICES to full UUIDs, or CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    elif not seen.uuids:
        cost, mend = "no GPU is measured", "unset CUDA_VISIBLE_DEVICES, or name one that is there (nvidia-smi -L)"
        yield Item(group=GROUP, what="visible GPUs", found=visible, verdict="costs", cost=cost, mend=mend)
    else:
        yield Item(group=GROUP, what="visible GPUs", found=visible)


def _device(library: Any, uuid: str, name: str) -> Iterator[Item]:
    told = nvml.describe(library, uuid)
    handle, reason = nvml.ask(library, "nvmlDeviceGetHandleByUUID", uuid)
    if handle is None:
        cost, mend = "nothing of it can be read", "reset or replace it (nvidia-smi -q)"
        yield Item(group=GROUP, what=name, found=reason, verdict="untrusted", cost=cost, mend=mend)
        return
    limit_w, memory_bytes = told.power_limit_w, told.memory_total_bytes
    facts = [str(told.name), uuid]
    facts += [format_bytes(memory_bytes)] if memory_bytes else []
    facts += [f"limit {limit_w:.0f} W"] if limit_w else []
    facts += [f"ECC {'on' if told.ecc else 'off'}"] if told.ecc is not None else []
    if told.mig:
        cost, mend = "its counters are of the whole GPU and say nothing of a slice: no power, energy, clocks", "nvidia-smi -mig 0, as root"
        yield Item(group=GROUP, what=name, found=", ".join([*facts, "divided (MIG)"]), verdict="costs", cost=cost, mend=mend)
    else:
        yield Item(group=GROUP, what=name, found=", ".join(facts))
    yield from _energy(library, handle, name)
    yield from _others(library, handle, name)
    yield from _slowdowns(library, handle, name)


def _energy(library: Any, handle: Any, name: str) -> Iterator[Item]:
    counter, reason = nvml.ask(library, "nvmlDeviceGetTotalEnergyConsumption", handle)
    power, _ = nvml.ask(library, "nvmlDeviceGetPowerUsage", handle)
    what = f"{name}, energy"
    if counter is not None:
        yield Item(group=GROUP, what=what, found="counter and power are read" if power is not None else "counter is read, power is not")
        return
    left = "energy is the integral of sampled power alone, with no counter to hold it against" if power is not None else "no energy"
    yield Item(
        group=GROUP, what=what, found=f"no counter ({reason})", verdict="costs", cost=left, mend="a GPU of Volta's generation or newer"
    )


def _others(library: Any, handle: Any, name: str) -> Iterator[Item]:
    pids, reason = nvml.ask(
        library, "nvmlDeviceGetComputeRunningProcesses", handle, of=lambda processes: {process.pid for process in processes}
    )
    what = f"{name}, other processes"
    if pids is None:
        yield Item(
            group=GROUP, what=what, found=reason, verdict="costs", cost="sharing goes unnoticed", mend="run outside the virtual machine"
        )
        return
    others = sorted(pids - {os.getpid()})
    if others:
        text = f"{len(others)} computing: pid {', '.join(map(str, others[:5]))}"
        cost, mend = "times, power and memory would be of all of them together", "end them, or choose another GPU with CUDA_VISIBLE_DEVICES"
        yield Item(group=GROUP, what=what, found=text, verdict="untrusted", cost=cost, mend=mend)
    else:
        yield Item(group=GROUP, what=what, found="none")


def _slowdowns(library: Any, handle: Any, name: str) -> Iterator[Item]:
    mask, _ = nvml.ask(library, "nvmlDeviceGetCurrentClocksEventReasons", handle, of=int)
    celsius, _ = nvml.ask(library, "nvmlDeviceGetTemperature", handle, nvml.TEMPERATURE_GPU, of=int)
    warm = "" if celsius is None else f", {celsius} C"
    what = f"{name}, clocks"
    if mask is None:
        cost, mend = "throttling goes unnoticed", "update the driver"
        yield Item(group=GROUP, what=what, found=f"reasons are not told{warm}", verdict="costs", cost=cost, mend=mend)
    elif mask & HARD_SLOWDOWNS:
        causes = ", ".join(cause for bit, cause in gpu_throttle.SLOWDOWNS.items() if mask & bit)
        cost, mend = "figures are of a throttled GPU", "cool it, check its power supply, then measure again"
        yield Item(group=GROUP, what=what, found=f"held down now: {causes}{warm}", verdict="untrusted", cost=cost, mend=mend)
    else:
        yield Item(group=GROUP, what=what, found=f"free{warm}")
