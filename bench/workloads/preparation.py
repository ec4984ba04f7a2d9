"""What every measured run does before its work: hold the memory against the machine, count, measure the ceilings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from bench.backend.ceilings import bandwidth_ceiling, brief_ceilings, matmul_ceiling
from bench.backend.device import Device
from bench.machine.meters.instruments import Instruments, Watch
from bench.machine.meters.readings import Readings
from bench.records.draft import Draft
from bench.records.environment import DeviceFacts, Environment
from bench.runs import observer_overhead
from bench.statistics.rates import AGAIN, passed
from estimators.errors import DoesNotFitError
from estimators.units import GIBI, format_bytes

RUNTIME_BYTES = GIBI
"""Beside the model: Python, torch and transformers, and the kernels' scratch space."""


AFTER_S = 1.0
"""For each rate that is measured again after a run."""

AGAIN_S, MOST_ROUNDS = 3.0, 3
"""For a ceiling that the run passed, and how often at most."""


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


def add_ceilings(draft: Draft, device: Device, dtype: str, *, brief: bool = False) -> None:
    """Matmul and bandwidth rates of this machine, measured just before the run, and the caches that may beat the second.

    Args:
        brief: of a step far below either; see brief_ceilings.
    """
    described = draft.environment.device or DeviceFacts()
    draft.environment |= Environment(device=described | DeviceFacts(cache_bytes=device.cache_bytes()))
    draft.ceilings += brief_ceilings(device, dtype) if brief else (matmul_ceiling(device, dtype), bandwidth_ceiling(device))


def add_ceilings_after(draft: Draft, device: Device, dtype: str) -> None:
    """The same rates once more after the run: how far they moved is how far a prediction made before it may be off."""
    for ceiling in (matmul_ceiling(device, dtype, AFTER_S), bandwidth_ceiling(device, AFTER_S)):
        draft.ceilings.append(dataclasses.replace(ceiling, kind=f"{ceiling.kind} after"))


def add_ceilings_again(draft: Draft, device: Device, dtype: str, say: Callable[[str], None]) -> None:
    """Ceilings that the run passed, longer, until it passes them no more: other programs may have held the first ones back."""
    measures = {
        "matmul": partial(matmul_ceiling, device, dtype, AGAIN_S, fastest=True),
        "bandwidth": partial(bandwidth_ceiling, device, AGAIN_S, fastest=True),
    }
    for kind, rate in passed(draft.measurement("complete")).items():
        say(f"the run passed the {kind} ceiling that was measured before it; measuring that again, longer")
        for _ in range(MOST_ROUNDS):
            found = dataclasses.replace(measures[kind](), kind=f"{kind} {AGAIN}")
            draft.ceilings.append(found)
            if found.value >= rate:
                break


def add_observer_cost(draft: Draft, device: Device, rounds: int) -> None:
    """What the instruments cost a short step here, measured interleaved; left out, with the reason, for 0 rounds."""
    if rounds == 0:
        draft.unavailable["observer"] = f"not measured by --preset {draft.request.preset}"
        return
    cost = observer_overhead.observer_cost(device, rounds)
    finding = observer_overhead.finding(cost)
    draft.environment |= Environment(observer=cost)
    draft.warnings += [finding] if finding else []


def add_peak_memory(draft: Draft, device: Device) -> None:
    """Peaks since the device's were reset."""
    _add_memory(draft, device.peak_memory())


@contextmanager
def watched(draft: Draft, device: Device, idle_s: float) -> Iterator[Watch]:
    """Run the block under all instruments; what they read goes into the draft, also where the block was interrupted."""
    instruments = Instruments(device.uuid, idle_s=idle_s)
    try:
        with instruments:
            yield instruments.window
    finally:
        readings = instruments.readings()
        draft.power |= readings.values
        draft.unavailable |= readings.unavailable
        draft.warnings += readings.findings
        _add_memory(draft, instruments.memory())


def _add_memory(draft: Draft, readings: Readings) -> None:
    draft.memory_bytes |= {name: None if value is None else int(value) for name, value in readings.values.items()}
    draft.unavailable |= readings.unavailable
