"""Memory, the clock, and whether this is a machine of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.machine.doctor.item import Item
from bench.machine.meters import cgroup, memory
from bench.sampling.clock import HostClock
from bench.sampling.timing_loop import LEAST_TICKS
from estimators.units import GIBI, format_bytes, format_duration

COARSE_S = 1e-3
"""A clock that reads so much for nothing is wrong by a tenth for steps of 10 ms."""

LITTLE_BYTES = 2 * GIBI


def items() -> Iterator[Item]:
    """Memory and clock of this machine."""
    yield memory_item(memory.host_memory(), cgroup.memory_limit())
    yield clock_item(HostClock().resolution_s)


def memory_item(host: memory.HostMemory, limit: cgroup.MemoryLimit | None) -> Item:
    """What a run may hold, container limits respected."""
    text = f"{format_bytes(host.available_bytes)} of {format_bytes(host.total_bytes)} available"
    text += "" if limit is None else f", control group's limit {format_bytes(limit.limit_bytes)}"
    if host.available_bytes < LITTLE_BYTES:
        cost, mend = "only the smallest models fit, and others' pages may be swapped while a run is timed", "end other programs"
        return Item(group="memory", what="memory", found=text, verdict="costs", cost=cost, mend=mend)
    return Item(group="memory", what="memory", found=text)


def clock_item(resolution_s: float) -> Item:
    """What the host's clock reads for an empty step, and the shortest step that it times to 1 %."""
    shortest_s = LEAST_TICKS * resolution_s
    text = f"an empty step reads {format_duration(resolution_s)}; steps from {format_duration(shortest_s)} on are timed to 1 %"
    if not math.isfinite(resolution_s) or resolution_s > COARSE_S:
        cost, mend = "short steps cannot be timed", "give one step more work, or measure outside the virtual machine"
        return Item(group="clock", what="host clock", found=text, verdict="untrusted", cost=cost, mend=mend)
    return Item(group="clock", what="host clock", found=text)
