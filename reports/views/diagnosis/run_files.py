"""The files that `diagnose` reads: how each is known, what is taken from it, and what it lacks."""

from __future__ import annotations

from estimators.diagnosis.readers.formats import FORMATS
from reports.table import Column, Table


def run_files_table() -> Table:
    """Every format, in the order of looking."""
    return Table(
        title="Files of a training that `diagnose` reads; each is known by what stands in it",
        columns=[
            Column(key="format", header="format"),
            Column(key="file", header="file"),
            Column(key="key", header="known by"),
            Column(key="says", header="taken"),
            Column(key="lacks", header="not in it"),
        ],
        rows=[
            {"format": name, "file": form.file, "key": form.key, "says": form.says, "lacks": form.lacks} for name, form in FORMATS.items()
        ],
        key="formats",
    )
