"""The waterfall of one step as a table, and one sentence on its largest part."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from bench.statistics.rates import drift
from estimators import units
from reports.table import Column, Table, Value
from reports.views.records.calibration import predicted_tables
from reports.waterfall import MUCH_DRIFT, UNEXPLAINED, Waterfall, waterfall

MISSING = "no step of this record was predicted from a calibration; make one with: python -m bench run ... --waterfall"


def waterfall_tables(records: Sequence[Measurement]) -> list[Table]:
    """The waterfall of every record that has one, or why the only one has none, and all predictions beside what was measured."""
    tables = [waterfall_table(record) for record in records]
    return [*(table for table in tables if table.rows or len(records) == 1), *predicted_tables(records)]


def waterfall_table(record: Measurement) -> Table:
    """From the physics bound to the measured step, part by part; without rows where the record does not hold what it needs."""
    breakdown, model = waterfall(record), record.request.model
    if breakdown is None:
        return Table(
            key="waterfall", title="From the bound to the step", conditions=[model], columns=_columns(), rows=[], notes=[_reason(record)]
        )
    rows: list[dict[str, Value]] = []
    reached_s = 0.0
    for part in breakdown.parts:
        reached_s += part.seconds_s or 0.0
        rows.append(
            {
                "part": part.name,
                "seconds_s": part.seconds_s,
                "share_fraction": None if part.seconds_s is None else part.seconds_s / breakdown.whole_s,
                "reached_s": reached_s,
                "profiled_s": part.profiled_s,
                "tag": part.tag,
                "how": part.reason,
            }
        )
    rows.append(
        {"part": "the step", "seconds_s": breakdown.whole_s, "share_fraction": 1.0, "reached_s": breakdown.whole_s, "tag": breakdown.tag}
    )
    return Table(
        key="waterfall",
        title=f"From the bound to the step ({breakdown.phase})",
        conditions=[model, "the parts sum to the step"],
        columns=[c for c in _columns() if c.key != "profiled_s" or any(row.get("profiled_s") is not None for row in rows)],
        rows=rows,
        notes=[sentence(breakdown), *_suspected(breakdown), *_notes(record)],
    )


def sentence(breakdown: Waterfall) -> str:
    """What to do about the largest part beside the bound."""
    part = breakdown.largest
    share = abs(part.seconds_s or 0.0) / breakdown.whole_s
    assert part.advice is not None, "every part beside the bound has one"
    what, check = part.advice.what, part.advice.check
    if part.name == UNEXPLAINED and (part.seconds_s or 0.0) < 0:
        return f"The parts are {100 * share:.0f} % more than the step took: the calibration is too slow for it; {what}."
    settled = f" Settled by: {check}." if part.name == UNEXPLAINED and check else ""
    return f"The largest part beside the bound is {part.name}, {100 * share:.0f} % of the step: {what}.{settled}"


def _suspected(breakdown: Waterfall) -> list[str]:
    """What the record speaks for as the reason of what is unexplained; nothing where it speaks for nothing."""
    told = [f"{each.id} ({each.evidence})" for each in breakdown.suspects if each.evidence]
    return [f"Suspected of what is unexplained, as diagnose names it: {'; '.join(told)}."] if told else []


def _columns() -> list[Column]:
    return [
        Column(key="part", header="Part"),
        Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
        Column(key="share_fraction", header="Share", format=units.format_fraction, align="right"),
        Column(key="reached_s", header="Up to here", format=units.format_duration, align="right"),
        Column(key="profiled_s", header="Profiler, whole class", format=units.format_duration, align="right"),
        Column(key="tag", header="Kind"),
        Column(key="how", header="How"),
    ]


def _notes(record: Measurement) -> list[str]:
    said = record.estimate.local
    assert said is not None, "a waterfall is of a step that was predicted"
    rough = said.basis_fraction.get("extrapolated", 0.0) + said.basis_fraction.get("stand-in", 0.0)
    ran = f"; the step that ran had {said.num_profiled_ops:,}" if said.num_profiled_ops is not None else ""
    lines = [f"Predicted {units.format_duration(said.seconds_s)} before it was measured, over {said.num_ops:,} operators{ran}."]
    lines += _drifted(record)
    if rough:
        lines.append(f"{100 * rough:.1f} % of the operators' time is extrapolated beyond the calibration: {'; '.join(said.weakest)}.")
    return lines


def _drifted(record: Measurement) -> list[str]:
    """Whether the machine is the one that was calibrated: its rates after the run against those before it."""
    moved = drift(record)
    if not moved:
        return []
    told = ", ".join(f"its {name} rate {100 * change:+.1f} %" for name, change in moved.items())
    steady = max(map(abs, moved.values())) <= MUCH_DRIFT
    meaning = "the machine stayed as it was" if steady else "the machine itself changed, and a step predicted before may be off by as much"
    return [f"After the run, against before it: {told}: {meaning}."]


def _reason(record: Measurement) -> str:
    return record.unavailable.get("estimate.local", MISSING)
