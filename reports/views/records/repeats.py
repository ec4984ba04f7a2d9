"""Repeats of one request in fresh processes: each one's figure, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from bench.statistics import robust
from bench.statistics.rates import headline_s, main_phase
from estimators import units
from reports.checks.crosscheck import crosscheck, failed
from reports.table import Column, Table, Value


def middle(records: Sequence[Measurement]) -> Measurement:
    """The repeat whose figure is the median one, the slower of two middle ones; the last one where none was timed."""
    timed = sorted((head[0], i) for i, record in enumerate(records) if (head := headline_s(record)))
    return records[timed[len(timed) // 2][1]] if timed else records[-1]


def repeats_table(records: Sequence[Measurement]) -> Table:
    """One row for each repeat; the title gives the median of the repeats' figures and their spread."""
    times = [head[0] for record in records if (head := headline_s(record))]
    rows: list[dict[str, Value]] = [
        {
            "repeat": record.request.repeat,
            "seconds_s": head[0] if (head := headline_s(record)) else None,
            "within_fraction": robust.relative_spread(phase.samples_s) if (phase := main_phase(record)) and phase.samples_s else None,
            "num_samples": len(phase.samples_s) if phase else None,
            "status": record.status,
            "num_failed": len(failed(crosscheck(record))),
            "run_id": record.run_id,
        }
        for record in records
    ]
    facts: dict[str, Value] = {"num_repeats": len(records), "num_timed": len(times)}
    title = f"{len(records)} repeats in fresh processes"
    if times:
        between = (max(times) - min(times)) / robust.median(times)
        facts |= {"median_s": robust.median(times), "between_fraction": between}
        title += f": {units.format_duration(robust.median(times))}, {units.format_fraction(between)} from fastest to slowest"
    return Table(
        key="repeats",
        title=title,
        columns=(
            Column(key="repeat", header="Repeat", align="right"),
            Column(key="seconds_s", header="Median", format=units.format_duration, align="right"),
            Column(key="within_fraction", header="Spread within", format=units.format_fraction, align="right"),
            Column(key="num_samples", header="Samples", align="right"),
            Column(key="status", header="Status"),
            Column(key="num_failed", header="Checks failed", align="right"),
            Column(key="run_id", header="run_id", raw=True),
        ),
        rows=rows,
        notes=["The tables below are of the repeat in the middle; every repeat has its own record."],
        facts=facts,
    )
