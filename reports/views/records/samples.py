"""Every timed sample of a run, in order, those of the warm-up first."""

from __future__ import annotations

from bench.records.record import Measurement, Phase
from bench.statistics.rates import main_phase, typical_s
from estimators import units
from reports.table import Column, Table, Value

ONCE = ("load", "first")
"""Phases that happen once."""


def samples_table(record: Measurement) -> Table:
    """One row for each sample of the phase that answers the question, of a generation the decode steps; no row where nothing was timed."""
    phase = shown_phase(record)
    rows: list[dict[str, Value]] = []
    if phase is not None:
        rows = [
            {"phase": phase.name, "number": number, "seconds_s": seconds, "warmup": number <= len(phase.warmup_s)}
            for number, seconds in enumerate((*phase.warmup_s, *phase.samples_s), 1)
        ]
    return Table(
        key="samples",
        title="Every sample in order",
        columns=(
            Column(key="phase", header="Phase"),
            Column(key="number", header="Sample", align="right"),
            Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
            Column(key="warmup", header="Warm-up"),
        ),
        rows=rows,
        facts={
            "phase": phase.name if phase else None,
            "num_warmup": len(phase.warmup_s) if phase else 0,
            "typical_s": typical_s(record, phase) if phase and phase.samples_s else None,
        },
        kind="measured",
    )


def shown_phase(record: Measurement) -> Phase | None:
    """The phase whose samples say most: of a generation the decode steps, of an article's training its steps."""
    phase = record.phase("decode") or main_phase(record)
    if phase is None or not phase.samples_s:
        timed = [phase for phase in record.phases if phase.name not in ONCE and phase.samples_s]
        return max(timed, key=lambda phase: len(phase.samples_s), default=None)
    return phase
