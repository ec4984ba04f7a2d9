"""Whole training runs against what is planned of them: device time by the factor that published runs took over their steady steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from estimators.units import format_duration, format_fraction, format_int, format_signed_fraction
from estimators.validation.compared import Compared
from reports.table import Column, Table, Value


def cells(entry: Compared) -> dict[str, Value]:
    """One entry as the contract of rows has it; see docs/accuracy.md."""
    return {
        "id": entry.id,
        "quantity": entry.quantity,
        "predicted": entry.predicted,
        "low": entry.low,
        "high": entry.high,
        "measured": entry.measured,
        "skipped": entry.skipped or None,
        "verdict": entry.verdict or None,
        "error": entry.predicted / entry.measured - 1 if entry.predicted and entry.measured else None,
    }


def holds(entry: Compared) -> bool:
    """Whether the interval holds what was measured."""
    return bool(entry.measured and entry.low and entry.high and entry.low <= entry.measured <= entry.high)


def runs_table(entries: Sequence[Compared]) -> Table:
    """Every run that is predicted, with how often the interval held, each run left out of its own factor."""
    known = [entry for entry in entries if not entry.skipped]
    held = sum(map(holds, known)) / len(known) if known else None
    said = f": the interval held {format_fraction(held)}" if held is not None else ""
    return Table(
        title=f"{format_int(len(known))} whole runs{said}; {format_int(len(entries) - len(known))} are not predicted",
        conditions=["device time of a whole run: predicted steady steps by the factor of the other published runs"],
        columns=[
            Column(key="id", header="run"),
            Column(key="measured", header="took, over all devices", format=format_duration, align="right"),
            Column(key="predicted", header="planned", format=format_duration, align="right"),
            Column(key="low", header="80 %, from", format=format_duration, align="right"),
            Column(key="high", header="to", format=format_duration, align="right"),
            Column(key="error", header="error", format=format_signed_fraction, align="right"),
        ],
        rows=[cells(entry) for entry in known],
        notes=[f"{format_int(number)} x {reason}" for reason, number in Counter(e.skipped for e in entries if e.skipped).most_common()],
        facts={"runs": len(known), "runs_held": held},
        key="whole_runs",
    )
