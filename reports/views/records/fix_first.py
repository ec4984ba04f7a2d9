"""What to fix first: where the time of a step goes beyond what physics asks for, the largest first, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.records.record import Measurement
from bench.statistics.rates import main_rates
from estimators import units
from estimators.advice import Advice
from reports.table import Column, Table, Value
from reports.views.records.waterfall import MISSING, sentence
from reports.waterfall import WaterfallPart, waterfall

Row = dict[str, Value]

LEAST_FRACTION = 0.005
"""A part that is less of the step is not worth a line."""


def fix_first_table(records: Sequence[Measurement]) -> Table:
    """Of one record every part, of several the largest part of each; by time, most first.

    Args:
        records: at least one.
    """
    one = len(records) == 1
    rows = [row for record in records for row in (_parts(record) if one else _largest(record))]
    rows.sort(key=lambda row: -abs(float(row["seconds_s"] or 0.0)))
    columns = [
        Column(key="model", header="Model"),
        Column(key="part", header="What"),
        Column(key="seconds_s", header="Time of a step", format=units.format_duration, align="right"),
        Column(key="share_fraction", header="Share", format=units.format_fraction, align="right"),
        Column(key="tag", header="Kind"),
        Column(key="advice", header="What to do"),
        Column(key="check", header="What settles it"),
    ]
    return Table(
        key="fix_first",
        title="What to fix first",
        conditions=["beside the bound, by time of a step"],
        columns=[c for c in columns[int(one) :] if any(row.get(c.key) is not None for row in rows)],
        rows=rows,
        notes=[*(f"{finding.code}: {finding.advice}" for record in records for finding in record.warnings if finding.advice)],
    )


def fix_first_line(records: Sequence[Measurement]) -> str:
    """The first of them in a sentence; empty where no step was explained.

    Args:
        records: at least one.
    """
    explained = [(record, breakdown) for record in records if (breakdown := waterfall(record))]
    if not explained:
        return ""
    record, breakdown = max(explained, key=lambda pair: abs(pair[1].largest.seconds_s or 0.0))
    said = sentence(breakdown)
    return said if len(records) == 1 else f"What costs most is in {record.request.model}, {breakdown.phase}. {said}"


def _row(record: Measurement, part: WaterfallPart, whole_s: float) -> Row:
    seconds_s, advice = part.seconds_s or 0.0, part.advice
    return {
        "model": record.request.model,
        "part": part.name,
        "seconds_s": seconds_s,
        "share_fraction": seconds_s / whole_s,
        "tag": part.tag,
        "advice": advice.what if advice else None,
        "check": advice.check or None if advice else None,
    }


def _parts(record: Measurement) -> Iterator[Row]:
    breakdown = waterfall(record)
    if breakdown is None:
        yield from _above_ceilings(record)
        return
    for part in breakdown.parts[1:]:
        if abs(part.seconds_s or 0.0) >= LEAST_FRACTION * breakdown.whole_s:
            yield _row(record, part, breakdown.whole_s)


def _largest(record: Measurement) -> Iterator[Row]:
    breakdown = waterfall(record)
    if breakdown is None:
        yield from _above_ceilings(record)
    else:
        yield _row(record, breakdown.largest, breakdown.whole_s)


def _above_ceilings(record: Measurement) -> Iterator[Row]:
    """What a step takes beyond the measured ceilings, where it was not explained further."""
    reached = main_rates(record)
    if reached is not None and reached.floor_s is not None and reached.seconds_s > reached.floor_s:
        above_s = reached.seconds_s - reached.floor_s
        above = WaterfallPart(
            name="above the measured ceilings", seconds_s=above_s, tag="derived", advice=Advice(id="no_waterfall", what=MISSING)
        )
        yield _row(record, above, reached.seconds_s)
