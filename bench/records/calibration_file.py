"""A calibration as a file, found again by the device's identity.

Calibrations lie in `calibrations/` of the user's data folder ($XDG_DATA_HOME/sixnd, else ~/.local/share/sixnd), or
in a file that the user names. One file per identity: device, its UUID, threads, torch's version and processor features.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.records import atomic_file, typed_json
from bench.records.calibration import FORMAT, Calibration
from bench.records.environment import DeviceFacts
from estimators import text_file
from estimators.errors import BadRecordError

WHAT, MEND = "the calibration", "name a file with --out"

IDENTITY = ("kind", "name", "uuid", "num_threads", "torch", "cpu_capability", "cuda", "float32_matmul_precision")
"""Of what a device says of itself, what its speed hangs on."""


def identity(device: DeviceFacts) -> dict[str, Any]:
    """Of a device's description, what finds its calibration."""
    return {name: getattr(device, name) for name in IDENTITY}


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where calibrations lie: an absolute $XDG_DATA_HOME, else ~/.local/share, and in it sixnd/calibrations.

    Source: XDG Base Directory Specification 0.8, which ignores relative paths.
    """
    base = Path(environ.get("XDG_DATA_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "share") / "sixnd" / "calibrations"


def path_for(device: DeviceFacts, where: Path | None = None) -> Path:
    """The file of a device's calibration: its name and a digest of its identity."""
    digest = hashlib.sha256(json.dumps(identity(device), sort_keys=True).encode()).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", (device.name or "").lower()).strip("-")[:40] or "device"
    return (folder() if where is None else where) / f"{slug}-{digest}.json"


def find(device: DeviceFacts, where: Path | None = None) -> Calibration | None:
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
    again = "make it again with: python -m bench calibrate"
    try:
        body = typed_json.loads(text_file.read(path))
    except OSError as error:
        raise BadRecordError(f"cannot read the calibration {str(path)!r}: {error.strerror}; {again}") from None
    except typed_json.MisfitError as error:
        raise BadRecordError(f"{str(path)!r} is damaged at {error}; {again}") from None
    except (ValueError, RecursionError):
        raise BadRecordError(f"{str(path)!r} is not JSON or was cut off; {again}") from None
    if not isinstance(body, dict) or not {"format", "device", "entries", "references"} <= body.keys():
        raise BadRecordError(f"{str(path)!r} is not a calibration of this tool (no format, device, entries, references); {again}")
    if body["format"] != FORMAT:
        raise BadRecordError(f"{str(path)!r} has calibration format {str(body['format'])[:20]}; this version reads {FORMAT}: {again}")
    try:
        return typed_json.build(Calibration, body)
    except typed_json.MisfitError as error:
        raise BadRecordError(f"{str(path)!r} is damaged at {' '.join(str(error).split())[:200]}; {again}") from None


def expect_writable(path: Path) -> None:
    """Find out before a calibration whether it can be written there; makes the folder.

    Raises:
        UnavailableError: it cannot.
    """
    with contextlib.suppress(OSError):  # the next line says why there is no folder
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_file.expect_writable(path, what=WHAT, mend=MEND)


def write(calibration: Calibration, path: Path) -> None:
    """Write a calibration whole or not at all.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    text = typed_json.dumps(typed_json.plain(calibration))
    with contextlib.suppress(OSError):  # the write says why there is no folder
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_file.write(path, text, what=WHAT, mend=MEND)
