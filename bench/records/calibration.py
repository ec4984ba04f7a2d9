"""What one device was measured to reach; `calibration_file` keeps it. No torch.

Format history
    1  first version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.records.environment import DeviceFacts, Environment
from bench.records.record import Ceiling
from bench.records.typed_json import MeasuredSeconds
from bench.statistics import robust
from estimators.cost.machine import MeasuredRates
from estimators.errors import BadRecordError, BadValueError
from estimators.facts.registry import hardware_for_device
from estimators.profile.interpolation import Grid, Mnk
from estimators.profile.operator_times import HOST_MODES, Host, MachineProfile

FORMAT = 1
COLLECTIVE = "collective"
"""Group and role of operations between processes, which no single step is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operator with one set of shapes.

    Attributes:
        key, kind, group, dtype, mnk, flop, num_bytes: as of estimators.profile.operator_times.OperatorCall.
        role: grid (a node of the grid of products), curve (a size of an element-wise kind), own (a model's own shape), collective.
        samples_s: seconds per call, every one, in order.
    """

    key: str
    kind: str
    group: str
    dtype: str
    role: str
    num_bytes: int
    flop: int
    samples_s: tuple[MeasuredSeconds, ...]
    mnk: tuple[int, ...] | None = None

    @property
    def seconds_s(self) -> float:
        """The median."""
        return robust.median(self.samples_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model so narrow that the host is all that it costs, at one depth.

    Attributes:
        mode: one of HOST_MODES.
        num_ops: operators that a step dispatches, views included.
        work_s: what those operators take when they are called alone, and what was read beside them.
        samples_s: of the whole step.
        product_bytes: read before each matrix product, so that what the host needs leaves the caches; 0 reads nothing.
        passing_bytes: read so in a step.
    """

    mode: str
    num_ops: int
    work_s: float
    samples_s: tuple[MeasuredSeconds, ...]
    product_bytes: int = 0
    passing_bytes: int = 0

    @property
    def added_s(self) -> float:
        """What the host adds to the operators' own time."""
        return max(0.0, robust.median(self.samples_s) - self.work_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything that was measured of one device.

    Attributes:
        device: what the device said of itself; `calibration_file.IDENTITY` of it finds the file again.
        ceilings: matmul burst and sustained by dtype; read, write and copy bandwidth; host to device; collectives.
        entries: operators by shape.
        references: two depths for each of HOST_MODES.
        op_s: seconds of the smallest operator.
        models: whose own shapes are among the entries.
        unavailable: what was not measured, and why.
    """

    created_utc: str
    device: DeviceFacts
    ceilings: tuple[Ceiling, ...] = ()
    entries: tuple[Entry, ...] = ()
    references: tuple[Reference, ...] = ()
    op_s: float
    environment: Environment = field(default_factory=Environment)
    models: tuple[str, ...] = ()
    unavailable: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def best(self, kind: str, dtype: str | None = None) -> float | None:
        """The highest rate of a kind of ceiling, in FLOP/s or bytes/s; None where none was measured."""
        return max((c.value for c in self.ceilings if c.kind == kind and dtype in (None, c.dtype)), default=None)

    def with_entries(self, entries: Iterable[Entry]) -> Calibration:
        """The calibration with more operators; those of a key that it has are replaced."""
        merged = {entry.key: entry for entry in self.entries} | {entry.key: entry for entry in entries}
        return dataclasses.replace(self, entries=tuple(merged.values()))


def machine_profile(calibration: Calibration, *, own: bool = True) -> MachineProfile:
    """What the calibration says, ready to be asked by the estimators.

    Args:
        own: whether models' own shapes count; without them everything is interpolated.

    Raises:
        BadRecordError: it lacks what a prediction needs.
    """
    entries = [entry for entry in calibration.entries if own or entry.role != "own"]
    bandwidth = calibration.best("copy")
    if bandwidth is None or {r.mode for r in calibration.references} != set(HOST_MODES):
        raise BadRecordError("the calibration has no bandwidth or no host cost; make it again with: python -m bench calibrate")
    curves: dict[tuple[str, str], dict[float, float]] = {}
    for entry in entries:
        if entry.role == "curve":
            curves.setdefault((entry.kind, entry.dtype), {})[float(entry.num_bytes)] = entry.seconds_s
    return MachineProfile(
        exact={entry.key: entry.seconds_s for entry in entries},
        grids=_grids(entries),
        curves={name: tuple(sorted(points.items())) for name, points in curves.items()},
        bytes_per_s=bandwidth,
        op_s=calibration.op_s,
        hosts={mode: _host([r for r in calibration.references if r.mode == mode]) for mode in HOST_MODES},
    )


def measured_rates(calibration: Calibration, title: str) -> MeasuredRates:
    """What predictions of whole trainings take from it: matmul ceilings, and the link where an all-reduce was measured.

    A ceiling is the highest rate of the sustained square product and of the grid's: what the shipped ones are, too.

    Args:
        title: names the calibration in notes.

    Raises:
        BadValueError: it is of a device that the registry does not know.
    """
    name, memory_bytes = calibration.device.name or "", calibration.device.memory_total_bytes
    known = hardware_for_device(name, memory_bytes)
    if known is None:
        raise BadValueError(f"{title} is of {name[:60]!r}, which is not a device of: python -m bench list hardware")
    rates = [(c.dtype, c.value) for c in calibration.ceilings if c.kind == "matmul sustained"]
    rates += [(entry.dtype, entry.flop / entry.seconds_s) for entry in calibration.entries if entry.role == "grid"]
    highest = {dtype: max(rate for of, rate in rates if of == dtype) for dtype, _ in rates if dtype}
    return MeasuredRates(
        hardware_id=known.id,
        flop_per_s=tuple(sorted(highest.items())),
        link_bytes_per_s=calibration.best("all-reduce"),
        title=f"{title}, measured {calibration.created_utc[:10]}",
    )


def _grids(entries: Iterable[Entry]) -> dict[str, Grid]:
    by_dtype: dict[str, dict[Mnk, float]] = {}
    for entry in entries:
        if entry.role == "grid" and entry.mnk is not None:
            m, n, k = entry.mnk
            by_dtype.setdefault(entry.dtype, {})[m, n, k] = entry.seconds_s
    grids = {}
    for dtype, nodes in by_dtype.items():
        ms, ns, ks = (tuple(sorted(set(line))) for line in zip(*nodes, strict=True))
        if len(nodes) == len(ms) * len(ns) * len(ks):
            grids[dtype] = Grid(ms=ms, ns=ns, ks=ks, seconds_s=nodes)
    return grids


def _host(references: list[Reference]) -> Host:
    """The line through two depths, by what passed through the caches beside them.

    A host that seems to cost less for more operators, or for emptier caches, is noise, and is taken as flat.
    """
    alone = [r for r in references if not r.product_bytes]
    per_op_s, (few, _) = _per_op_s(alone), _shallow_and_deep(alone)
    passing, least_s = [], per_op_s
    for product_bytes in sorted({r.product_bytes for r in references} - {0}):
        beside = [r for r in references if r.product_bytes == product_bytes]
        shallow, deep = _shallow_and_deep(beside)
        if deep.num_ops > shallow.num_ops:
            least_s = max(least_s, _per_op_s(beside))
            passing.append(((deep.passing_bytes - shallow.passing_bytes) / (deep.num_ops - shallow.num_ops), least_s))
    return Host(fixed_s=max(0.0, few.added_s - per_op_s * few.num_ops), per_op_s=per_op_s, passing=tuple(passing))


def _shallow_and_deep(references: list[Reference]) -> tuple[Reference, Reference]:
    in_order = sorted(references, key=lambda r: r.num_ops)
    return in_order[0], in_order[-1]


def _per_op_s(references: list[Reference]) -> float:
    few, many = _shallow_and_deep(references)
    gap = many.num_ops - few.num_ops
    return max(0.0, (many.added_s - few.added_s) / gap) if gap else few.added_s / max(1, few.num_ops)
