"""What strikes the ranks of a soaked training, and when: disks that fill, streams that break, meters that raise, signals."""

from __future__ import annotations

import hashlib
import importlib
import os
import resource
import signal
from dataclasses import dataclass
from typing import Any

ENDS = {"killed": signal.SIGKILL, "terminated": signal.SIGTERM}
"""Faults that end a rank."""

OTHERS = ("disk", "stderr closed", "stderr broken", "meter")

METERS = (
    "bench.callbacks.watcher.scalar_loss",
    "bench.callbacks.batches.named_parts",
    "bench.callbacks.flop_source.FlopSource.work_of",
    "bench.callbacks.pass_hooks.PassHooks._before",
    "bench.callbacks.pass_hooks.PassHooks._backward",
    "bench.callbacks.passes.PassLedger.settle",
    "bench.callbacks.steps.StepLog.begin",
    "bench.callbacks.steps.StepLog.end",
    "bench.callbacks.step_reading.StepReader.rows",
    "bench.callbacks.console.Console.show",
    "bench.callbacks.rates.figures",
    "bench.callbacks.rank_state.SampledParameters.changed",
    "bench.callbacks.energy.Energy.close",
    "bench.callbacks.exchange.RankExchange.leave",
    "bench.callbacks.exchange.RankExchange.hear",
    "bench.callbacks.exchange.RankExchange.is_main",
    "bench.callbacks.writer.Writer.autosave",
    "bench.callbacks.to_record.fill",
    "bench.backend.device.Device.peak_memory",
)
"""What raises in a rank that a meter fails."""


class BrokenMeterError(Exception):
    """A meter's."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes one rank as a step begins, by its number; a full disk has room again `until` another."""

    what: str
    rank: int
    at: int
    until: int = 0
    meter: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: which kind of loop, how long, where its records go (None: unwatched), and what strikes it.

    Attributes:
        launched: whether the store of the ranks is a launcher's, which outlives them; else rank 0 serves it.
    """

    kind: str
    steps: int
    out: str | None
    faults: tuple[Fault, ...] = ()
    launched: bool = False


CONNECTED = "connected\n"
"""Told by a rank before its first loss."""


class Struck:
    """One rank as its steps begin and end: strikes it, and tells its losses."""

    def __init__(self, job: Job, rank: int, tell: int) -> None:
        self._faults, self._tell, self._step, self._meters = [f for f in job.faults if f.rank == rank], tell, 0, job.out is not None

    def connected(self) -> None:
        """The ranks have found one another."""
        os.write(self._tell, CONNECTED.encode())

    def begin(self) -> None:
        """A step begins."""
        for fault in self._faults:
            if fault.at == self._step:
                self._strike(fault)
            elif fault.what == "disk" and fault.until == self._step:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._step += 1

    def _strike(self, fault: Fault) -> None:
        if fault.what == "disk":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        elif fault.what == "stderr closed":
            os.close(2)
        elif fault.what == "stderr broken":
            nobody, end = os.pipe()
            os.close(nobody)
            os.dup2(end, 2)
        elif fault.what == "meter":
            if self._meters:
                break_meter(fault.meter)
        else:
            os.kill(os.getpid(), ENDS[fault.what])

    def loss(self, value: Any) -> None:
        """A loss was computed."""
        os.write(self._tell, f"{float(value.detach()).hex()}\n".encode())

    def end(self, model: Any) -> None:
        """The training is through."""
        told = hashlib.sha256()
        for parameter in model.parameters():
            told.update(parameter.detach().numpy().tobytes())
        os.write(self._tell, f"parameters {told.hexdigest()}\n".encode())


def meter(name: str) -> tuple[Any, str]:
    """Where a function is kept, and its name there.

    Raises:
        AttributeError: no such function.
    """
    where, _, last = name.rpartition(".")
    try:
        owner: Any = importlib.import_module(where)
    except ImportError:
        module, _, kind = where.rpartition(".")
        owner = getattr(importlib.import_module(module), kind)
    getattr(owner, last)
    return owner, last


def break_meter(name: str) -> None:
    """From now on it raises."""

    def broken(*_: Any, **__: Any) -> Any:
        raise BrokenMeterError("a meter")

    setattr(*meter(name), broken)
