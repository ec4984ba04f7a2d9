"""The processor: model, governor, turbo, threads, affinity, quota, load of other programs, energy counters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.machine import environment
from bench.machine.doctor.item import Item
from bench.machine.meters import cgroup, rapl
from bench.machine.meters.instruments import SHARED_FRACTION, processor_s
from bench.records.environment import Cpu
from estimators.errors import UnavailableError

GROUP = "processor"
SAMPLE_S = 0.5
STEADY_GOVERNORS = ("performance",)


def items() -> Iterator[Item]:
    """What this machine's processor is like."""
    cpu = environment.collect([]).cpu or Cpu()
    yield Item(group=GROUP, what="model", found=f"{cpu.model or 'not told'}, {cpu.logical_cores} logical cores")
    yield governor(cpu.governor)
    yield turbo(environment.turbo())
    usable = usable_processors(cpu.affinity, cpu.logical_cores)
    yield affinity(usable, cpu.logical_cores or usable)
    yield threads(usable, cgroup.cpu_limit(), os.environ)
    yield others(usable)
    yield energy()


def usable_processors(affinity: Sequence[int] | None, logical: int | None) -> int:
    """Processors that this process may run on."""
    return len(affinity) if affinity else logical or 1


def governor(name: str | None) -> Item:
    """How the kernel chooses the clock."""
    what = "frequency governor"
    if name is None:
        return Item(
            group=GROUP,
            what=what,
            found="the kernel shows none",
            verdict="costs",
            cost="it cannot be told whether the clock changed during a run",
            mend="nothing, in a virtual machine or container; take more samples (--preset rigorous)",
        )
    if name not in STEADY_GOVERNORS:
        cost, mend = "the clock follows the load, so that first steps are slower", "as root: cpupower frequency-set -g performance"
        return Item(group=GROUP, what=what, found=name, verdict="costs", cost=cost, mend=mend)
    return Item(group=GROUP, what=what, found=name)


def turbo(on: bool | None) -> Item:
    """Whether the clock may rise above its base rate while it is cool."""
    if on is None:
        cost, mend = "short runs may be faster than long ones, unseen", "nothing, in a virtual machine; measure for longer"
        return Item(group=GROUP, what="turbo", found="the kernel does not tell", verdict="costs", cost=cost, mend=mend)
    if on:
        cost = "short runs on a cool processor are faster than long ones"
        mend = "measure for longer, or as root: echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo"
        return Item(group=GROUP, what="turbo", found="on", verdict="costs", cost=cost, mend=mend)
    return Item(group=GROUP, what="turbo", found="off")


def affinity(usable: int, logical: int) -> Item:
    """Which processors this process may use."""
    return Item(group=GROUP, what="affinity", found=f"{usable} of {logical} logical cores" if usable < logical else f"all {logical}")


def threads(usable: int, quota: float | None, environ: Mapping[str, str]) -> Item:
    """Threads that torch will start against the processors and the quota there are."""
    asked = environ.get("OMP_NUM_THREADS", "")
    number = int(asked) if asked.isdecimal() and int(asked) else usable
    text = f"{number} threads" + (f" (OMP_NUM_THREADS={asked})" if asked else "") + f" on {usable} processors"
    text += "" if quota is None else f", quota of {quota:g}"
    allowed = usable if quota is None else min(usable, quota)
    if number > allowed:
        cost = "threads wait for one another while the quota stops them" if quota is not None and quota < usable else "threads take turns"
        mend = f"export OMP_NUM_THREADS={max(1, int(allowed))}"
        return Item(group=GROUP, what="threads and quota", found=text, verdict="untrusted", cost=cost, mend=mend)
    return Item(group=GROUP, what="threads and quota", found=text)


def others(
    usable: int,
    read: Callable[[], tuple[float, float]] = processor_s,
    sleep: Callable[[float], object] = time.sleep,
    window_s: float = SAMPLE_S,
) -> Item:
    """What other programs take of the processors, over half a second. In a container the whole host's programs count."""
    (machine, own), _ = read(), sleep(window_s)
    machine_after, own_after = read()
    num_busy = max(0.0, (machine_after - machine) - (own_after - own)) / window_s
    text = f"{num_busy:.1f} of {usable} processors" + (f", load {load:.1f}" if (load := environment.load_1min()) is not None else "")
    if num_busy > SHARED_FRACTION * usable:
        cost, mend = "steps wait for other programs: times are too long and scatter", "end the other programs, or wait for them"
        return Item(group=GROUP, what="taken by other programs", found=text, verdict="untrusted", cost=cost, mend=mend)
    return Item(group=GROUP, what="taken by other programs", found=text)


def energy(root: Path = rapl.ROOT) -> Item:
    """Whether the processor's energy counters can be read."""
    try:
        counters = rapl.domains(root)
    except UnavailableError as error:
        mend = str(error).partition("; ")[2] or "nothing, in a virtual machine or container; else load the module intel_rapl_msr"
        return Item(
            group=GROUP, what="energy (RAPL)", found=str(error).partition("; ")[0], verdict="costs", cost="no energy of a CPU", mend=mend
        )
    return Item(group=GROUP, what="energy (RAPL)", found=f"{len(counters)} counters are read")
