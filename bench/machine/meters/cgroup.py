"""What a container may use: memory and CPU limits of this process's control groups, versions 1 and 2.

A limit of any parent group binds as well, so the smallest along the path counts. None means: no limit there.
Source: Linux kernel documentation, admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")

NO_LIMIT_BYTES = 2**60
"""Version 1 writes "none" as the largest page-aligned 63-bit number; no machine has an exbibyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimit:
    """The tightest memory limit.

    Attributes:
        limit_bytes: what the group may hold.
        available_bytes: the limit less what is held, file cache that can be dropped not counted as held.
    """

    limit_bytes: int
    available_bytes: int


def memory_limit(root: Path = ROOT, own_groups: Path = OWN_GROUPS) -> MemoryLimit | None:
    """The limit that leaves the least memory; None where no group has one."""
    limits = []
    for folder in _folders("memory", root, own_groups):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is None or limit >= NO_LIMIT_BYTES:
            continue
        held = _number(folder, "memory.current", "memory.usage_in_bytes") or 0
        available = max(0, min(limit, limit - held + _droppable_bytes(folder)))
        limits.append(MemoryLimit(limit_bytes=limit, available_bytes=available))
    return min(limits, key=lambda m: m.available_bytes, default=None)


def cpu_limit(root: Path = ROOT, own_groups: Path = OWN_GROUPS) -> float | None:
    """CPUs' worth of time per period that the tightest quota allows; None where there is no quota."""
    limits = []
    for folder in _folders("cpu", root, own_groups):
        quota_and_period = (_text(folder / "cpu.max") or "").split()
        quota, period = (
            quota_and_period if len(quota_and_period) == 2 else (_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))
        )
        if quota and period and quota.isdecimal() and period.isdecimal() and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _folders(controller: str, root: Path, own_groups: Path) -> Iterator[Path]:
    """This process's group and its parents, in whichever hierarchy holds the controller, as far as they are visible here."""
    for line in (_text(own_groups) or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        for top in _mounts(controller, root) if controllers else [root]:
            for inside in (group, *group.parents):
                yield top / inside


def _mounts(controller: str, root: Path) -> list[Path]:
    """Where version 1 has the controller: it may be mounted with others of its hierarchy in the folder's name, or alone."""
    try:
        return [folder for folder in root.iterdir() if controller in folder.name.split(",")]
    except OSError:
        return []


def _droppable_bytes(folder: Path) -> int:
    """File cache that the kernel gives back first; version 1 counts children in `total_`."""
    stat = dict(line.split(maxsplit=1) for line in (_text(folder / "memory.stat") or "").splitlines() if " " in line)
    number = stat.get("total_inactive_file", stat.get("inactive_file", "0"))
    return int(number) if number.isdecimal() else 0


def _number(folder: Path, *names: str) -> int | None:
    """The number in the first file that holds one; 0 is one. A control group has the name of version 2 or that of version 1."""
    texts = (_text(folder / name) for name in names)
    return next((int(text) for text in texts if text and text.isdecimal()), None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
