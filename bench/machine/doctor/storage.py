"""Where records and calibrations go: whether the folder can be written, and how much fits there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.machine.doctor.item import Item
from bench.records.calibration_file import folder as calibrations
from estimators.units import MEBI, format_bytes

GROUP = "storage"
LEAST_BYTES = 100 * MEBI
"""A record of 100,000 samples takes a few MiB; below this, the next runs may not be kept."""


def items(out: Path) -> Iterator[Item]:
    """The folder of records, the disk under it, and the calibrations."""
    yield writable(out)
    yield space(out)
    yield calibration(os.environ)


def writable(out: Path) -> Item:
    """Whether a record could be written there; a folder that is not there yet is tried in the nearest one that is. Nothing stays."""
    what, place = "records folder", nearest(out)
    where = f"{out}/" + ("" if place == out else f", to be made in {place}/")
    try:
        if not place.is_dir():
            raise NotADirectoryError(0, f"{place} is not a folder")
        with tempfile.NamedTemporaryFile(dir=place, prefix=".try-"):
            return Item(group=GROUP, what=what, found=f"{where} can be written")
    except OSError as error:
        cost, mend = "no record is kept, and `run` refuses to start", "name a writable folder with --out"
        return Item(group=GROUP, what=what, found=f"{where}: {error.strerror}", verdict="untrusted", cost=cost, mend=mend)


def space(out: Path, free_bytes: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free) -> Item:
    """What is free on the disk of the records."""
    free = free_bytes(nearest(out))
    if free < LEAST_BYTES:
        cost, mend = "a record may not fit, and is then not written at all", "free some space, or name another disk with --out"
        return Item(group=GROUP, what="disk space", found=f"{format_bytes(free)} free", verdict="untrusted", cost=cost, mend=mend)
    return Item(group=GROUP, what="disk space", found=f"{format_bytes(free)} free")


def nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there.

    >>> str(nearest(Path("/no/such/folder")))
    '/'
    """
    return next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path())


def calibration(environ: Mapping[str, str]) -> Item:
    """Calibrations of this user: what `calibrate` wrote, in sixnd/calibrations of the XDG data folder."""
    names = sorted(path.stem for path in calibrations(environ).glob("*.json"))
    if not names:
        cost = "ceilings are measured for seconds before each run, and nothing predicts this machine's steps"
        return Item(
            group=GROUP, what="calibration", found="none", verdict="costs", cost=cost, mend="python -m bench calibrate, on a quiet machine"
        )
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return Item(group=GROUP, what="calibration", found=", ".join(names[:3]) + more)
