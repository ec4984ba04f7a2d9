"""A trace of torch's profiler, read in one pass: what its steps were spent on.

Definitions, as Holistic Trace Analysis has them: busy is the union of kernels over streams inside whole steps, idle the rest of the steps;
exposed communication is what communication kernels take beyond all others. Of a trace without a GPU an operator's own time stands for a
kernel, and what runs while data is loaded is loading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from estimators.diagnosis.readers.lines import JsonPieces, number
from estimators.diagnosis.traces import names
from estimators.diagnosis.traces.own_time import Calls, own_time_of
from estimators.diagnosis.traces.spans import MICROSECONDS, NONE, Gathered, Spans, both, seconds, union, without
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import field, frozen

MAX_EVENTS = 2 * 10**7
"""Kernels and operators that are kept: some 350 MB."""

GPU_EVENTS = ("kernel", "gpu_memcpy", "gpu_memset")
ANNOTATIONS = ("user_annotation", "cpu_op", "")
"""Categories in which steps and loaders stand; older profilers gave them those of operators. On the GPU's own lines they stand again."""

_STEP = re.compile(r"ProfilerStep#(\d+)\Z")
_LOADER = "enumerate(DataLoader)#"
_OPTIMIZER = "Optimizer.step#"


@frozen
class Trace:
    """One rank's steps.

    Attributes:
        num_steps: whole ones in the file; 0 where none is marked, and then the window is all that was recorded.
        steps_s: each step, in order.
        window_s: of all of them.
        alone_s: of names.CLASSES, the union of its time in the window, what several have at once given to the first of them alone; they
            sum to `busy_s`.
        busy_s: in which a kernel runs; of a trace without a GPU, an operator that loads no data.
        loader_s: in which the training's thread waits for data; `waiting_s` of it nothing is busy.
        communication_s, exposed_s: of communication, and of it what nothing else runs beside.
        after_s: of kernels behind the last step: it was not yet done.
        has_gpu: whether kernels of a GPU are in it.
        device: the GPU's name; empty where the file has none.
        world_size: of the job; None where the file does not say.
        num_events, num_broken: read, and passed by as they were no events.
        is_cut: whether the file ends before its end.
        has_stacks: whether Python's calls were recorded, which slows a run.
    """

    num_steps: int
    steps_s: tuple[float, ...]
    window_s: float
    alone_s: Mapping[str, float] = field(hash=False)
    busy_s: float
    loader_s: float
    waiting_s: float
    communication_s: float
    exposed_s: float
    after_s: float
    has_gpu: bool
    device: str = ""
    world_size: int | None = None
    num_events: int = 0
    num_broken: int = 0
    is_cut: bool = False
    has_stacks: bool = False

    @property
    def idle_s(self) -> float:
        """In which nothing is busy, data loading included."""
        return self.window_s - self.busy_s


class _Read:
    """What one pass gathers."""

    def __init__(self) -> None:
        self.kernels: dict[str, Gathered] = {}
        self.threads: dict[tuple[str, str], Calls] = {}
        self.steps, self.loaders, self.optimizers = Gathered(), Gathered(), Gathered()
        self.device = ""
        self.world_size: int | None = None
        self.num_events = self.num_broken = self.num_kept = 0
        self.has_stacks = self.is_trace = False

    def event(self, event: Any) -> None:
        """One element of traceEvents. Raises BadValueError."""
        self.num_events += 1
        if not isinstance(event, dict):
            self.num_broken += 1
            return
        if event.get("ph") != "X":
            return
        start, took, name = number(event.get("ts")), number(event.get("dur")), event.get("name")
        if start is None or took is None or took < 0 or not isinstance(name, str):
            self.num_broken += 1
            return
        kind, end = str(event.get("cat") or "").casefold(), start + took
        if kind in GPU_EVENTS:
            self.threads.clear()  # of a trace with a GPU its kernels tell
            kernel = names.class_of_kernel(name) if kind == "kernel" else names.COPY
            self.kernels.setdefault(kernel, Gathered()).add(start, end)
            self.num_kept += 1
        elif kind == "gpu_user_annotation":
            if name.startswith(_OPTIMIZER):
                self.optimizers.add(start, end)
        elif kind in ANNOTATIONS and _STEP.match(name):
            self.steps.add(start, end)
        elif kind in ANNOTATIONS and name.startswith(_LOADER):
            self.loaders.add(start, end)
        elif kind in ANNOTATIONS and name.startswith(_OPTIMIZER):
            if not self.kernels:
                self.optimizers.add(start, end)
        elif kind == "cpu_op" and not self.kernels:
            calls = self.threads.setdefault((str(event.get("pid")), str(event.get("tid"))), Calls())
            calls.add(start, end, names.CLASSES.index(names.class_of_operator(name)))
            self.num_kept += 1
        self.has_stacks = self.has_stacks or kind == "python_function"
        if self.num_kept > MAX_EVENTS:
            raise BadValueError(f"the trace has more than {MAX_EVENTS:,} kernels or operators; record fewer steps: schedule(active=3)")

    def piece(self, name: str, value: Any) -> None:
        """One of the file's own values."""
        if name == "traceEvents":
            self.is_trace = True
            self.event(value)
        elif name == "deviceProperties" and isinstance(value, dict) and not self.device:
            self.device = str(value.get("name") or "")[:100]
        elif name == "distributedInfo" and isinstance(value, dict):
            size = number(value.get("world_size"))
            self.world_size = int(size) if size is not None and 1 <= size <= 10**7 else None


def read_trace(path: str) -> Trace:
    """The steps of a trace, plain or compressed by gzip, of any size, in one pass.

    Raises:
        UnavailableError: the file cannot be read, or nothing in it is timed.
        BadValueError: it is no trace, or has more in it than can be kept.
    """
    pieces, read = JsonPieces(path), _Read()
    for name, value in pieces:
        read.piece(name, value)
    if not read.is_trace:
        raise BadValueError(f"{path!r} has no traceEvents, or none in it; expected what torch.profiler's export_chrome_trace writes")
    found = _trace(read, is_cut=pieces.cut, num_broken=read.num_broken + pieces.broken)
    if found is None:
        raise UnavailableError(f"{path!r} has no step, kernel or operator with a time; record some with torch.profiler's ProfilerActivity")
    return found


def _trace(read: _Read, *, is_cut: bool, num_broken: int) -> Trace | None:
    has_gpu = bool(read.kernels)
    loaders, steps = read.loaders.union(), read.steps.each()
    if has_gpu:
        spans = {name: gathered.union() for name, gathered in read.kernels.items()}
    else:
        own = own_time_of(list(read.threads.values()), len(names.CLASSES))
        spans = {name: without(each, loaders) for name, each in zip(names.CLASSES, own, strict=True) if len(each)}
    everything = union([*spans.values(), loaders])
    window = union([steps]) if len(steps) else _whole(everything)
    if not seconds(window) > 0:
        return None
    optimizer = read.optimizers.union()
    if len(optimizer):
        inside = [both(each, optimizer) for each in spans.values()]
        spans = {name: without(each, optimizer) for name, each in spans.items()}
        spans[names.OPTIMIZER] = union([*inside, spans.get(names.OPTIMIZER, NONE)])
    spans = {name: both(each, window) for name, each in spans.items()}
    busy = union(list(spans.values()))
    alone, so_far = {}, NONE
    for name in names.CLASSES:
        if name in spans:
            alone[name] = seconds(without(spans[name], so_far))
            so_far = union([so_far, spans[name]])
    working = union([each for name, each in spans.items() if name != names.COMMUNICATION])
    told = both(loaders, window)
    steps = steps[np.argsort(steps[:, 0])]
    return Trace(
        num_steps=len(steps),
        steps_s=tuple((end - start) / MICROSECONDS for start, end in steps.tolist()),
        window_s=seconds(window),
        alone_s=alone,
        busy_s=seconds(busy),
        loader_s=seconds(told),
        waiting_s=seconds(without(told, busy)),
        communication_s=seconds(spans.get(names.COMMUNICATION, NONE)),
        exposed_s=seconds(without(spans.get(names.COMMUNICATION, NONE), working)),
        after_s=max(0.0, float(everything[-1, 1] - window[-1, 1])) / MICROSECONDS if has_gpu else 0.0,
        has_gpu=has_gpu,
        device=read.device,
        world_size=read.world_size,
        num_events=read.num_events,
        num_broken=num_broken,
        is_cut=is_cut,
        has_stacks=read.has_stacks,
    )


def _whole(spans: Spans) -> Spans:
    return np.array([[spans[0, 0], spans[-1, 1]]]) if len(spans) else NONE
