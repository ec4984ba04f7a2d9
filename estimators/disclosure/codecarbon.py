"""codecarbon's emissions.csv as experiments: columns by name, the last row of each run, one process of a machine.

Rows are appended, and within a run_id they are cumulative: the last one is the run. Under a launcher each process writes the whole
machine's energy, so that of runs on one machine at one time the largest stands for all. Energies are written with the PUE in them
(codecarbon 3.3.2, core/measure.py), and are divided by it here. A power of 0.0 beside a part that was not found is no reading.

Source: codecarbon 3.3.2, output_methods/emissions_data.py; issues 393, 544, 629 of mlco2/codecarbon.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from estimators import text_file
from estimators.disclosure.experiment import Energy, Experiment
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import frozen
from estimators.units import HOUR_S, KILO

NEEDED = ("timestamp", "run_id", "duration", "energy_consumed", "cpu_energy", "gpu_energy", "ram_energy")
"""Columns that every release since 2.0 writes, and that nothing can be read without."""

MAX_BYTES = 64 * 2**20
NO_FLOP = "codecarbon counts no FLOP"

SAME_TIME = 0.5
"""Share of the shorter of two runs from which on they count as of one time: processes of a launcher share nearly all of theirs."""


@frozen
class Tracked:
    """What a file tells.

    Attributes:
        experiments: one for each run.
        remarks: what was taken how, a line each.
        pue: that all runs were given; None where it is not given, or not one.
        country: code of three letters, of all runs; empty where it is not one.
        emissions_g: grams of CO2 equivalent, as codecarbon worked them out, over the runs that count.
    """

    experiments: tuple[Experiment, ...]
    remarks: tuple[str, ...]
    pue: float | None
    country: str
    emissions_g: float


@frozen
class _Run:
    """One run's last row."""

    cells: Mapping[str, str]
    place: str

    def number(self, column: str) -> float | None:
        """The cell as a number; None where it is blank or the column is not there. Raises BadValueError."""
        text = (self.cells.get(column) or "").strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise BadValueError(f"{self.place}: {column} is {text[:40]!r}; expected a number from 0, with a point before its decimals")
        return value

    def needed(self, column: str) -> float:
        """The cell as a number that must be there. Raises BadValueError."""
        value = self.number(column)
        if value is None:
            raise BadValueError(f"{self.place}: {column} is blank; expected a number")
        return value

    def text(self, column: str) -> str:
        return (self.cells.get(column) or "").strip()

    @property
    def pue(self) -> float:
        """That the energies have in them; 1.0 is codecarbon's for none."""
        return max(1.0, self.number("pue") or 1.0)

    @property
    def num_gpus(self) -> int:
        return round(self.number("gpu_count") or 0)

    @property
    def span_s(self) -> tuple[float, float]:
        """From its beginning to the time of its row. Raises BadValueError."""
        try:
            ended_s = datetime.fromisoformat(self.text("timestamp")).timestamp()
        except (ValueError, OverflowError, OSError):
            raise BadValueError(
                f"{self.place}: timestamp is {self.text('timestamp')[:40]!r}; expected such as 2026-01-31T12:00:00"
            ) from None
        return ended_s - self.needed("duration"), ended_s

    @property
    def machine(self) -> tuple[str, ...]:
        """What tells one machine from another, as far as the file does."""
        return tuple(self.text(name) for name in ("cpu_model", "cpu_count", "gpu_model", "gpu_count", "ram_total_size"))


def is_emissions(header: str) -> bool:
    """Whether a file's first line is that of an emissions.csv."""
    return set(NEEDED) <= set(next(csv.reader([header.removeprefix("\ufeff")]), []))


def read_emissions(*paths: str) -> Tracked:
    """The runs of one file, or of several.

    Raises:
        UnavailableError: one cannot be read.
        BadValueError: no emissions.csv, or a row with something that codecarbon does not write; names file, line and column.
    """
    return tracked([(path, _text(path)) for path in paths])


def tracked(files: Sequence[tuple[str, str]]) -> Tracked:
    """The runs of several files, which the processes of a launcher may have written.

    Args:
        files: path and text of each.

    Raises:
        BadValueError: as read_emissions.
    """
    rows, runs = 0, {}
    for path, text in files:
        for run in _rows(path, text):
            rows += 1
            runs[path, run.text("run_id")] = run
    if not runs:
        raise BadValueError(f"{files[0][0] if files else 'no file'!r} has no run; expected rows below the header of an emissions.csv")
    kept = _one_of_a_machine(list(runs.values()))
    remarks = []
    if rows > len(runs):
        remarks.append(f"{rows} rows are {len(runs)} runs: rows of a run are cumulative, the last one was taken")
    if len(kept) < len(runs):
        remarks.append(
            f"{len(runs) - len(kept)} of {len(runs)} runs tracked a machine while another one did: each process counts all of it, so the "
            "largest was taken; of several machines that are alike disclose each by itself"
        )
    if any(run.number("ram_energy") for run in kept):
        remarks.append("Memory's energy is codecarbon's rule of watts per installed GB of the host, no reading; it is told apart")
    pues, countries = {run.pue for run in kept}, {run.text("country_iso_code") for run in kept}
    return Tracked(
        experiments=tuple(_experiment(run) for run in kept),
        remarks=tuple(remarks),
        pue=max(pues) if len(pues) == 1 and max(pues) > 1 else None,
        country=max(countries) if len(countries) == 1 else "",
        emissions_g=1000 * math.fsum(run.number("emissions") or 0.0 for run in kept),
    )


def _text(path: str) -> str:
    try:
        return text_file.read(path, max_bytes=MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None


def _rows(path: str, text: str) -> list[_Run]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        if lacking := [name for name in NEEDED if name not in header]:
            raise BadValueError(f"{path!r} is no emissions.csv of codecarbon: it has no column {lacking[0]}; expected {', '.join(NEEDED)}")
        found = []
        for cells in filter(None, reader):
            place = f"{path!r}, line {reader.line_num}"
            if len(cells) != len(header):
                raise BadValueError(
                    f"{place} has {len(cells)} cells and its header {len(header)}; it was cut off, or two releases wrote it"
                )
            found.append(_Run(cells=dict(zip(header, cells, strict=True)), place=place))
    except csv.Error as error:
        raise BadValueError(f"{path!r}, line {reader.line_num}: {error}; expected an emissions.csv") from None
    return found


def _one_of_a_machine(runs: Sequence[_Run]) -> list[_Run]:
    """Of runs that tracked one machine at one time the one with the most energy; the others as they are."""
    kept: list[_Run] = []
    for run in sorted(runs, key=lambda run: -run.needed("energy_consumed")):
        if not any(_tracked_the_same(run, other) for other in kept):
            kept.append(run)
    return sorted(kept, key=lambda run: run.span_s)


def _tracked_the_same(run: _Run, other: _Run) -> bool:
    """Whether two runs tracked all of one machine for most of the shorter one; times are of whole seconds."""
    if run.machine != other.machine or "process" in (run.text("tracking_mode"), other.text("tracking_mode")):
        return False
    (begun_s, ended_s), (other_begun_s, other_ended_s) = run.span_s, other.span_s
    together_s = min(ended_s, other_ended_s) - max(begun_s, other_begun_s)
    return together_s > SAME_TIME * min(run.needed("duration"), other.needed("duration"))


def _experiment(run: _Run) -> Experiment:
    num_devices = run.num_gpus or 1
    energies = (_gpus(run), _part(run, "processors", "cpu_energy"), _part(run, "memory", "ram_energy"))
    return Experiment(
        name=run.text("run_id"),
        standing="complete",
        why="",
        work="tracked",
        model=run.text("project_name"),
        device=_without_count(run.text("gpu_model")) if run.num_gpus else run.text("cpu_model") or "a processor",
        hardware=None,
        num_devices=num_devices,
        memory_bytes=None,
        device_s=run.needed("duration") * num_devices,
        trains=True,
        architecture_flop=None,
        counted_as="",
        dtype="",
        peak_flop_per_s=None,
        utilization=None,
        energies=energies,
        unavailable=(("architecture_flop", NO_FLOP), ("device_time_flop", f"{NO_FLOP}, and does not tell the dtype")),
    )


def _without_count(model: str) -> str:
    """The device alone of ``8 x NVIDIA H100``, as codecarbon writes several.

    >>> _without_count("8 x NVIDIA H100 80GB HBM3"), _without_count("Tesla T4")
    ('NVIDIA H100 80GB HBM3', 'Tesla T4')
    """
    count, times, name = model.partition(" x ")
    return name if times and count.isdigit() else model


def _gpus(run: _Run) -> Energy:
    """Of the GPUs; 0 is a reading of none."""
    energy_j = _device_j(run, "gpu_energy")
    if energy_j and run.num_gpus:
        return Energy(part="GPUs", kind="measured", energy_j=energy_j, source="NVML, by codecarbon", window_s=run.needed("duration"))
    why = "codecarbon found no GPU: gpu_count is blank or 0" if not run.num_gpus else "codecarbon wrote 0 for GPUs that are there: not read"
    return Energy(part="GPUs", kind="measured", energy_j=None, source=why)


def _part(run: _Run, part: str, column: str) -> Energy:
    """Of another part; 0 is no reading."""
    energy_j, window_s = _device_j(run, column), run.needed("duration")
    if not energy_j:
        return Energy(part=part, kind="not stated", energy_j=None, source=f"codecarbon wrote {column} 0: not tracked")
    if part == "memory":
        source = "a rule by installed GB, by codecarbon"
        return Energy(part=part, kind="estimated", energy_j=energy_j, source=source, window_s=window_s)
    source = "by codecarbon: a counter, or a constant for the model; the file does not tell"
    return Energy(part=part, kind="not stated", energy_j=energy_j, source=source, window_s=window_s)


def _device_j(run: _Run, column: str) -> float:
    """Energy at the device: the file's kilowatt-hours without the PUE that is in them."""
    return run.needed(column) / run.pue * KILO * HOUR_S
