"""A record while it is being made, and its file: a killed run leaves a readable record or none."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import secrets
import tempfile
from pathlib import Path

from bench.records import atomic_file
from bench.records.asked import Asked
from bench.records.environment import Environment
from bench.records.estimated import Estimated
from bench.records.extrapolation import Extrapolation
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.record import STATUSES, Ceiling, Count, Finding, Measurement, Phase
from estimators.errors import UnavailableError


class Draft:
    """A measurement while it is being made: parts are added, and `save` writes them whole and atomically.

    The output folder is created and tried before anything is measured, so that nothing measured is lost to a
    read-only disk. `save` may be called again and again; each call replaces the file.
    """

    def __init__(self, *, model: str, task: str, request: Asked, out: Path) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.run_id = f"{stamp(now)}-{_slug(model)}-{task}-{os.getpid()}-{secrets.token_hex(4)}"
        self.created_utc = now.isoformat(timespec="seconds")
        self.request = request
        self.environment = Environment()
        self.phases: list[Phase] = []
        self.counts: list[Count] = []
        self.ceilings: list[Ceiling] = []
        self.memory_bytes: dict[str, int | None] = {}
        self.power: dict[str, float | None] = {}
        self.proof = Proof()
        self.learning = Learning()
        self.extrapolation: Extrapolation | None = None
        self.estimate = Estimated()
        self.warnings: list[Finding] = []
        self.unavailable: dict[str, str] = {}
        self.path = out / f"{self.run_id}.json"
        self._made = make_folder(out)

    def add_phase(self, phase: Phase) -> None:
        """Keep a phase; an interrupted one is kept first and then stops the run by raising KeyboardInterrupt."""
        self.phases.append(phase)
        if phase.stopped_by == "interrupt":
            raise KeyboardInterrupt

    def measurement(self, status: str, reason: str = "") -> Measurement:
        """The parts so far as a record."""
        assert status in STATUSES, status
        return Measurement(
            run_id=self.run_id,
            created_utc=self.created_utc,
            status=status,
            status_reason=reason,
            request=self.request,
            environment=self.environment,
            phases=tuple(self.phases),
            counts=tuple(self.counts),
            ceilings=tuple(self.ceilings),
            memory_bytes=self.memory_bytes,
            power=self.power,
            proof=self.proof,
            learning=self.learning,
            extrapolation=self.extrapolation,
            estimate=self.estimate,
            warnings=tuple(self.warnings),
            unavailable=self.unavailable,
        )

    def save(self, status: str, reason: str = "") -> Measurement:
        """Write the record; returns what was written."""
        measurement = self.measurement(status, reason)
        write(measurement, self.path)
        return measurement

    def discard(self) -> None:
        """Give the run up: folders that were made for its record go, unless another run has filled them meanwhile."""
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()


def stamp(at: datetime.datetime | None = None) -> str:
    """A time, by default now, as it begins the name of a record: sortable, in UTC, to the millisecond.

    >>> stamp(datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, datetime.UTC))
    '20260102T030405.678Z'
    """
    return f"{at or datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", Path(text).name)[:40] or "model"


def make_folder(out: Path) -> list[Path]:
    """Make the folder and try it; the folders that had to be made, innermost first.

    Raises:
        UnavailableError: it cannot be written.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out, prefix=".try-"):
            return missing
    except OSError as error:
        raise UnavailableError(f"cannot write records to {str(out)!r}: {error.strerror}; name a writable folder with --out") from None


def write(measurement: Measurement, path: Path) -> None:
    """Write a record whole or not at all.

    Raises:
        UnavailableError: the folder cannot be written or the disk is full; an earlier file stays as it was.
    """
    atomic_file.write(path, measurement.to_json(), what="the record", mend="free some space or name a folder with --out")
