"""What a disclosure reads: a record or a folder of them, or codecarbon's files; which of the two it is, and what was left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.records.experiments import experiments_of, ran
from bench.records.record import files_below, read_folder
from estimators.disclosure.codecarbon import is_emissions, read_emissions
from estimators.disclosure.experiment import Experiment, Utilization
from estimators.errors import BadRecordError, BadValueError
from estimators.frozen import frozen, replace

NO_RECORD = (
    "neither a record nor codecarbon's emissions.csv is in {path!r}; make a record with: python -m bench run --model linreg-1d --out {path}"
)


@frozen
class Disclosable:
    """What was read.

    Attributes:
        experiments: one by one, oldest first.
        left_out: files that cannot be read, a line each.
        remarks: what a reader has to know, a line each.
        country, pue: as codecarbon's files say; empty and None of records.
    """

    experiments: tuple[Experiment, ...]
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    country: str = ""
    pue: float | None = None


def read_source(path: str, *, preliminary: Sequence[str] = (), utilization: Utilization | None = None) -> Disclosable:
    """The experiments of a record, a folder of records, or codecarbon's file or files.

    Args:
        preliminary: records, or folders of them, that were tries.
        utilization: of the route by device time.

    Raises:
        BadRecordError, BadValueError, UnavailableError: nothing there that can be read.
    """
    if os.path.isfile(path) and path.endswith(".csv"):
        return _of_codecarbon([path], preliminary)
    files = emissions_below(path)
    try:
        records, problems = read_folder(Path(path))
    except BadRecordError as error:
        if not files:
            raise (
                BadRecordError(NO_RECORD.format(path=path)) if os.path.isdir(path) and "no readable record" in str(error) else error
            ) from None
        return _of_codecarbon(files, preliminary)
    num_files, records = len(records), list({record.run_id: record for record in records}.values())
    tries = _tries(preliminary)
    if strange := tries - {record.run_id for record in records}:
        raise BadValueError(f"--preliminary: {min(strange)} is no record of {path!r}; name records, or folders of them, below it")
    idle = [record.run_id for record in records if not ran(record)]
    found = experiments_of(records, tries, utilization)
    if not found:
        raise BadRecordError(f"nothing ran in {path!r}: {idle[0]} is an estimate; give records of what was run")
    remarks = [f"{len(idle)} of {len(records)} records are estimates of what never ran, and are not among them"] if idle else []
    if num_files > len(records):
        remarks.append(f"{num_files} files hold {len(records)} records: each run was counted once")
    if files:
        remarks.append(
            f"{len(files)} of codecarbon's files lie beside the records, which may be of the same runs: not added; disclose each by itself"
        )
    return Disclosable(experiments=found, left_out=tuple(problems), remarks=tuple(remarks))


def emissions_below(folder: str) -> list[str]:
    """codecarbon's files in a folder and below it, by their header."""
    return [str(path) for path in files_below(Path(folder), "*.csv") if path.is_file() and is_emissions(_first_line(path))]


def _first_line(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.readline(10_000)
    except OSError:
        return ""


def _of_codecarbon(files: Sequence[str], preliminary: Sequence[str]) -> Disclosable:
    """Of codecarbon's files. Raises BadValueError, UnavailableError."""
    found = read_emissions(*files)
    tries = set(preliminary)
    experiments = tuple(replace(each, standing="preliminary") if each.name in tries else each for each in found.experiments)
    if strange := tries - {each.name for each in experiments}:
        raise BadValueError(f"--preliminary: {min(strange)[:80]!r} is no run of {files[0]!r}; expected a run_id")
    own = f"codecarbon itself says {found.emissions_g:.6g} g of CO2 equivalent (its file has kilograms)"
    return Disclosable(experiments=experiments, remarks=(*found.remarks, own), country=found.country, pue=found.pue)


def _tries(paths: Sequence[str]) -> frozenset[str]:
    """run_id of each record that was a try. Raises BadRecordError."""
    return frozenset(record.run_id for path in paths for record in read_folder(Path(path))[0])
