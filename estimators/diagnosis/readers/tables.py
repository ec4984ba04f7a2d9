"""Tables of metrics: Lightning's ``metrics.csv``, an export of Weights & Biases, and other CSV whose columns have known names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from estimators.diagnosis.observed import Missing, Observed
from estimators.diagnosis.readers.lines import Lines
from estimators.diagnosis.readers.metrics import LOADER, STEP_NAMES, Metrics, metric_of, step_of
from estimators.diagnosis.readers.readings import skipped
from estimators.diagnosis.readers.text_log import NothingKnownError
from estimators.errors import BadValueError
from estimators.frozen import replace

_OF_RUN = re.compile(r"^(?P<run>.{1,200}?) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?$")

NO_MONITOR = Missing(
    what="any time", why="a CSVLogger writes none by itself", flag="callbacks=[ThroughputMonitor(batch_size_fn=..., length_fn=...)]"
)
NO_METRIC = Missing(what="a metric of speed", why="no column is called as one", flag="--tokens-per-s or --step-time, with what it is of")


def is_header(line: str) -> bool:
    """Whether a line is the header of a table of metrics: two columns and more, one of which counts steps or is known."""
    names = _names(line)
    plain = [_metric_name(name) for name in names]
    return len(names) >= 2 and any(name.casefold() in STEP_NAMES or metric_of(name) is not None for name in plain)


def _names(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)), [])


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _metric_name(column: str) -> str:
    found = _OF_RUN.match(column.strip())
    return found["metric"] if found else column.strip()


class MetricsTable:
    """Everything that one table says."""

    def __init__(self, lines: Lines) -> None:
        self.lines, self.metrics = lines, Metrics()
        self.broken = self.decimal_commas = 0
        rest = iter(lines)
        header = next((line for line in rest if line.strip()), "")
        self.delimiter = _delimiter(header)
        self.columns = _names(header)
        self.runs = self._runs()
        self.is_export = bool(self.runs)
        names = {at: _metric_name(name) for at, name in enumerate(self.columns) if not name.endswith(("__MIN", "__MAX"))}
        self._steps = {name.casefold(): at for at, name in names.items() if name.casefold() in STEP_NAMES}
        self._kept = {name: at for at, name in names.items() if metric_of(name) is not None or name in LOADER}
        for cells in self._rows(rest):
            self._take(cells)

    def _runs(self) -> list[str]:
        found = [match["run"] for name in self.columns if (match := _OF_RUN.match(name.strip()))]
        return list(dict.fromkeys(found))

    def _rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        for line in lines:
            if not line.strip():
                continue
            if '"' in line or len(line) > LONG or "\0" in line:
                try:
                    cells = next(csv.reader([line], delimiter=self.delimiter))
                except (csv.Error, StopIteration):
                    self.broken += 1
                    continue
            else:
                cells = line.split(self.delimiter)
            if cells == self.columns:
                continue
            if len(cells) != len(self.columns):
                self.broken += 1
                continue
            yield cells

    def _take(self, cells: list[str]) -> None:
        self.decimal_commas += self.delimiter != "," and any(_DECIMAL_COMMA.fullmatch(cell.strip()) for cell in cells)
        row = {name: cell for name, at in self._kept.items() if (cell := cells[at].strip())}
        self.metrics.take(row, step_of({name: cells[at].strip() for name, at in self._steps.items()}))

    def observed(self) -> Observed:
        """What it says.

        Raises:
            BadValueError: several runs, or numbers with a decimal comma.
            NothingKnownError: no header of a table of metrics.
        """
        if len(self.runs) > 1:
            shown = ", ".join(repr(run[:40]) for run in self.runs[:4])
            raise BadValueError(f"{self.lines.path!r} holds {len(self.runs):,} runs ({shown}); export one run alone")
        if self.decimal_commas:
            raise BadValueError(f"{self.lines.path!r} has decimal commas; export it again with decimal points")
        if not self.columns:
            raise NothingKnownError
        is_lightning = not self.is_export and "step" in self.columns and "epoch" in self.columns
        what = (
            f"a table of {len(self.columns):,} columns" if not self.is_export else f"an export of Weights & Biases, {self.runs[0][:60]!r}"
        )
        missing = [] if self.metrics.courses else [NO_MONITOR if is_lightning else NO_METRIC]
        notes = ["an export is sampled: 500 points of a curve at most, of several steps each"] if self.is_export else []
        observed = self.metrics.observed(what, missing=missing, notes=notes)
        broken = skipped("rows that could not be read", self.broken, "cut, or with more or fewer cells than the header")
        too_long = skipped("lines of more than 262,144 characters", self.lines.too_long)
        return replace(observed, skipped=(*observed.skipped, *broken, *too_long))


LONG = 100_000
"""Characters of a line that may have a cell of more than `csv` takes."""

_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
