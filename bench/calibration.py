"""What one device was measured to reach, kept in a file and found again by the device's identity. No torch.

Format history
    1  first version.

Calibrations lie in `calibrations/` of the user's data folder ($XDG_DATA_HOME/sixnd, else ~/.local/share/sixnd), or
in a file that the user names. One file per identity: device, its UUID, threads, torch's version and processor features.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import stats, strict_json
from bench.record import Ceiling
from estimators.errors import BadRecordError, UnavailableError
from estimators.local_time import HOST_MODES, Host, Local
from estimators.shape_grid import Grid, Mnk

FORMAT = 1
IDENTITY = ("kind", "name", "uuid", "num_threads", "torch", "cpu_capability", "cuda", "float32_matmul_precision")
"""Of what a device says of itself, what its speed hangs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operator with one set of shapes.

    Attributes:
        key, kind, group, dtype, mnk, flop, num_bytes: as of estimators.local_time.Piece.
        role: grid (a node of the grid of products), curve (a size of an element-wise kind), own (a model's own shape).
        samples_s: seconds per call, every one, in order.
    """

    key: str
    kind: str
    group: str
    dtype: str
    role: str
    num_bytes: int
    flop: int
    samples_s: tuple[float, ...]
    mnk: tuple[int, ...] | None = None

    @property
    def seconds_s(self) -> float:
        """The median."""
        return stats.median(self.samples_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model so narrow that the host is all that it costs, at one depth.

    Attributes:
        mode: one of HOST_MODES.
        num_ops: operators that a step dispatches, views included.
        work_s: what those operators take when they are called alone.
        samples_s: of the whole step.
    """

    mode: str
    num_ops: int
    work_s: float
    samples_s: tuple[float, ...]

    @property
    def added_s(self) -> float:
        """What the host adds to the operators' own time."""
        return max(0.0, stats.median(self.samples_s) - self.work_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything that was measured of one device.

    Attributes:
        device: what the device said of itself; IDENTITY of it finds the file again.
        ceilings: matmul burst and sustained by dtype; read, write and copy bandwidth; host to device; collectives.
        entries: operators by shape.
        references: two depths for each of HOST_MODES.
        op_s: seconds of the smallest operator.
        models: whose own shapes are among the entries.
        unavailable: what was not measured, and why.
    """

    created_utc: str
    device: dict[str, Any]
    ceilings: tuple[Ceiling, ...] = ()
    entries: tuple[Entry, ...] = ()
    references: tuple[Reference, ...] = ()
    op_s: float
    environment: dict[str, Any] = field(default_factory=dict)
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


def local(calibration: Calibration, *, own: bool = True) -> Local:
    """What the calibration says, ready to be asked by the estimators.

    Args:
        own: whether models' own shapes count; without them everything is interpolated.

    Raises:
        BadRecordError: it lacks what a prediction needs.
    """
    entries = [entry for entry in calibration.entries if own or entry.role != "own"]
    bandwidth = calibration.best("copy")
    if bandwidth is None or {r.mode for r in calibration.references} != set(HOST_MODES):
        raise BadRecordError("the calibration has no bandwidth or no host cost; make it anew with: python -m bench calibrate")
    curves: dict[tuple[str, str], dict[float, float]] = {}
    for entry in entries:
        if entry.role == "curve":
            curves.setdefault((entry.kind, entry.dtype), {})[float(entry.num_bytes)] = entry.seconds_s
    return Local(
        exact={entry.key: entry.seconds_s for entry in entries},
        grids=_grids(entries),
        curves={name: tuple(sorted(points.items())) for name, points in curves.items()},
        bytes_per_s=bandwidth,
        op_s=calibration.op_s,
        hosts={mode: _host([r for r in calibration.references if r.mode == mode]) for mode in HOST_MODES},
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
    """The line through two depths; a host that seems to cost less for more operators is noise, and is taken as flat."""
    few, many = sorted(references, key=lambda r: r.num_ops)[:: len(references) - 1] if len(references) > 1 else references * 2
    gap = many.num_ops - few.num_ops
    per_op_s = max(0.0, (many.added_s - few.added_s) / gap) if gap else few.added_s / max(1, few.num_ops)
    return Host(fixed_s=max(0.0, few.added_s - per_op_s * few.num_ops), per_op_s=per_op_s)


def identity(device: Mapping[str, Any]) -> dict[str, Any]:
    """Of a device's description, what finds its calibration."""
    return {name: device.get(name) for name in IDENTITY}


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where calibrations lie: an absolute $XDG_DATA_HOME, else ~/.local/share, and in it sixnd/calibrations.

    Source: XDG Base Directory Specification 0.8, which ignores relative paths.
    """
    base = Path(environ.get("XDG_DATA_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "share") / "sixnd" / "calibrations"


def path_for(device: Mapping[str, Any], where: Path | None = None) -> Path:
    """The file of a device's calibration: its name and a digest of its identity."""
    digest = hashlib.sha256(json.dumps(identity(device), sort_keys=True).encode()).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", str(device.get("name", "")).lower()).strip("-")[:40] or "device"
    return (folder() if where is None else where) / f"{slug}-{digest}.json"


def find(device: Mapping[str, Any], where: Path | None = None) -> Calibration | None:
    """The device's calibration, or None where there is none.

    Raises:
        BadRecordError: there is one and it cannot be read.
    """
    path = path_for(device, where)
    return read(path) if path.exists() else None


def read(path: Path) -> Calibration:
    """Read one calibration.

    Raises:
        BadRecordError: not there, no calibration, or of another format; one line says which and what to do.
    """
    again = "make it anew with: python -m bench calibrate"
    try:
        body = strict_json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRecordError(f"cannot read the calibration {str(path)!r}: {error.strerror}; {again}") from None
    except (ValueError, RecursionError):
        raise BadRecordError(f"{str(path)!r} is not JSON or was cut off; {again}") from None
    if not isinstance(body, dict) or not {"format", "device", "entries", "references"} <= body.keys():
        raise BadRecordError(f"{str(path)!r} is no calibration of this tool (no format, device, entries, references); {again}")
    if body["format"] != FORMAT:
        raise BadRecordError(f"{str(path)!r} has calibration format {str(body['format'])[:20]}; this version reads {FORMAT}: {again}")
    try:
        for name, kind in (("ceilings", Ceiling), ("entries", Entry), ("references", Reference)):
            body[name] = tuple(strict_json.build(kind, part) for part in body.get(name, ()))
        return strict_json.build(Calibration, body)
    except (TypeError, AttributeError) as error:
        raise BadRecordError(f"{str(path)!r} is damaged: {' '.join(str(error).split())[:120]}; {again}") from None


def write(calibration: Calibration, path: Path) -> None:
    """Write a calibration whole or not at all.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    text = json.dumps(dataclasses.asdict(calibration), indent=1, ensure_ascii=False, allow_nan=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UnavailableError(f"cannot write the calibration {str(path)!r}: {error.strerror}; name a file with --out") from None
