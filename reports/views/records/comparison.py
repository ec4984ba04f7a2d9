"""Two sides of records held against each other: the verdict first, then only what differs around them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.records.record import Measurement
from bench.statistics.bootstrap import justified_digits
from bench.statistics.comparison import Comparison, PhaseComparison, Unit
from bench.statistics.noise_floor import machine
from bench.statistics.surroundings import surroundings
from estimators import units
from estimators.units import plural
from reports.table import Column, Table, Value

MAX_TOLD = 4
"""Differences of the environment that are named above the table of all."""

WHAT: Mapping[Unit, str] = {"s": "time", "s_per_item": "time per item", "of_ceilings": "of ceilings"}
"""Heading of compared times."""

MAX_DIGITS = 4
"""Significant digits of a compared time at most, where its interval supports them."""


def tables(compared: Comparison, a: Sequence[Measurement], b: Sequence[Measurement], *, label_a: str, label_b: str) -> list[Table]:
    """The verdicts, and where there are any, the differences of settings and surroundings."""
    differences = differences_table(a, b)
    return [verdict_table(compared, a, b, label_a=label_a, label_b=label_b), *([differences] if differences.rows else [])]


def headline(compared: Comparison) -> str:
    """The verdict in one line: the ratio of times, its interval and what it was taken from, and what it does not prove."""
    row = compared.decisive
    if compared.verdict == "INCOMPARABLE" or row is None or row.change_fraction is None:
        return " ".join(f"{compared.verdict}: B cannot be held against A: {row.reason if row else 'neither holds a case'}".split())
    ratio = 1 + row.change_fraction
    counted = f"{plural(row.samples_a, 'sample')} of A, {row.samples_b:,} of B"
    if max(row.records_a, row.records_b) > 1:
        counted += f", in {plural(row.records_a, 'record')} and {row.records_b:,}"
    if row.low_fraction is None or row.high_fraction is None or row.confidence is None:
        said = f"B takes about {ratio:.2g} times as long as A ({counted})"
        return f"{compared.verdict}: not shown to be different: {said}; no interval can be drawn from so few samples{_which(compared, row)}"
    half = _half_width(row)
    decimals = min(4, max(2, -math.floor(math.log10(half)))) if half > 0 else 4
    interval = f"{1 + row.low_fraction:.{decimals}f} to {1 + row.high_fraction:.{decimals}f}"
    said = f"B takes {ratio:.{decimals}f} times as long as A ({_plain(row.confidence)} interval {interval}; {counted})"
    return f"{compared.verdict}: {_proven(compared, row, said)}{_which(compared, row)}"


def _proven(compared: Comparison, row: PhaseComparison, said: str) -> str:
    """What a judged row shows, and how far it goes."""
    threshold = _plain(compared.threshold_fraction)
    if row.verdict in ("FASTER", "SLOWER"):
        return said
    if row.verdict == "SAME":
        return f"{said}; differences up to {threshold} do not count"
    if (row.low_fraction or 0) > 0 or (row.high_fraction or 0) < 0:
        return f"{said}: a difference, but not shown to be one of {threshold}"
    unseen = f"differences under {_rough(row.detectable_fraction)} cannot be seen with these samples" if row.detectable_fraction else ""
    return f"not shown to be different: {said}; {unseen}"


def _which(compared: Comparison, row: PhaseComparison) -> str:
    """Which of several rows the headline is of."""
    judged = [other for other in compared.phases if other.verdict == row.verdict]
    if len(compared.phases) == 1:
        return ""
    cases = {other.case for other in compared.phases}
    where = row.phase + (f" of {row.case}" if len(cases) > 1 else "")
    return f"; {where}, one of {len(judged)} such rows of {len(compared.phases)}" if len(judged) > 1 else f"; {where}"


def verdict_table(compared: Comparison, a: Sequence[Measurement], b: Sequence[Measurement], *, label_a: str, label_b: str) -> Table:
    """One row per phase of each case."""
    number = _times_ceilings if compared.unit == "of_ceilings" else units.format_duration
    rows: list[dict[str, Value]] = []
    for row in compared.phases:
        raw: dict[str, Value] = {name: getattr(row, name) for name in (field.name for field in dataclasses.fields(PhaseComparison))}
        rows.append(raw | {"a_text": _time(row, row.a, number), "b_text": _time(row, row.b, number), "change": _change(row)})
    suffix, what = compared.unit, WHAT[compared.unit]
    for cells in rows:
        cells[f"a_{suffix}"], cells[f"b_{suffix}"] = cells.pop("a"), cells.pop("b")
    columns = [
        Column(key="case", header="Case", once=True),
        Column(key="phase", header="Phase"),
        Column(key="verdict", header="Verdict"),
        Column(key="a_text", header=f"A, {what}", align="right"),
        Column(key="b_text", header=f"B, {what}", align="right"),
        Column(key="change", header="B against A", align="right"),
        Column(key="detectable_fraction", header="Visible from", format=_rough, align="right"),
        Column(key="reason", header="Why"),
        *(Column(key=f"{side}_{suffix}", header=f"{side.upper()}, raw", raw=True) for side in ("a", "b")),
        *(Column(key=f"{name}_fraction", header=name, raw=True) for name in ("change", "low", "high")),
        *(Column(key=key, header=key, raw=True) for key in ("confidence", "records_a", "records_b", "samples_a", "samples_b")),
    ]
    used = [c for c in columns if c.raw or any(row.get(c.key) not in (None, "") for row in rows)]
    facts: dict[str, Any] = {
        "verdict": compared.verdict,
        "threshold_fraction": compared.threshold_fraction,
        "confidence": compared.confidence,
    }
    floor = compared.floor
    facts |= {"noise_floor_fraction": floor and floor.fraction, "noise_floor_record": floor and floor.run_id}
    return Table(
        key="comparison",
        title=headline(compared),
        conditions=[
            *(f"{side}: {label}, {_records(held)} on {_machines(held)}" for side, label, held in (("A", label_a, a), ("B", label_b, b))),
            f"a difference counts from {_plain(compared.threshold_fraction)}, {_plain(compared.confidence)} confidence for all rows",
            *(f"differs as stated: {name}: {one} against {other}" for name, one, other in compared.stated),
            *_environments(a, b),
        ],
        columns=used,
        rows=rows,
        notes=list(_notes(compared, a, b)),
        facts=facts,
    )


def _times_ceilings(value: float, digits: int) -> str:
    """A time as a multiple of what the ceilings demand.

    >>> _times_ceilings(1.2345, 3)
    '1.23 x'
    """
    return f"{float(f'{value:.{digits}g}'):g} x"


def _plain(fraction: float) -> str:
    """A share that the user chose, as it was given."""
    return f"{100 * fraction:.4g} %"


def _rough(fraction: float) -> str:
    return units.format_fraction(fraction, 2)


def _half_width(row: PhaseComparison) -> float:
    return (row.high_fraction - row.low_fraction) / 2 if row.high_fraction is not None and row.low_fraction is not None else 0.0


def _time(row: PhaseComparison, value: float | None, number: Callable[[float, int], str]) -> str | None:
    """A value to the digits that the interval of the ratio supports."""
    if value is None:
        return None
    half = value * _half_width(row)
    return number(value, justified_digits(value, (value - half, value + half), MAX_DIGITS) if half else 3)


def _change(row: PhaseComparison) -> str | None:
    if row.change_fraction is None:
        return None
    if row.low_fraction is None or row.high_fraction is None:
        return f"about {100 * row.change_fraction:+.2g} %"
    digits = justified_digits(row.change_fraction, (row.low_fraction, row.high_fraction))
    value = float(f"{100 * row.change_fraction:.{digits}g}")
    low, high = (f"{float(f'{100 * bound:.2g}'):+g}" for bound in (row.low_fraction, row.high_fraction))
    return f"{value:+g} % ({low} to {high})"


def _environments(a: Sequence[Measurement], b: Sequence[Measurement]) -> Iterator[str]:
    """What differs in machine, software and their settings, in a line; the commit is what is compared."""
    names = [name.removeprefix("environment.") for name, _, _ in surroundings(a, b) if name.startswith("environment.")]
    told = [name for name in names if not name.startswith("project.")]
    if told:
        yield f"not the same environment: {', '.join(told[:MAX_TOLD])}" + (f" and {len(told) - MAX_TOLD} more" if told[MAX_TOLD:] else "")


def _records(held: Sequence[Measurement]) -> str:
    return plural(len(held), "record")


def _machines(held: Sequence[Measurement]) -> str:
    return " and ".join(sorted({machine(record) for record in held})) or "no machine"


def _notes(compared: Comparison, a: Sequence[Measurement], b: Sequence[Measurement]) -> Iterator[str]:
    yield (
        "Time: geometric mean of the records' medians, or means where steps differ in size. In parentheses: its interval by block "
        "bootstrap. Visible from: the smallest difference that would be found in 80 % of such comparisons."
    )
    if compared.unit == "s_per_item":
        yield "Times are those of a token or sample: a step over what it holds, since batches differ as stated."
    if compared.unit == "of_ceilings":
        yield "Times are multiples of what each record's own measured ceilings demand: 1 x would be perfect on either machine."
    elif _machines(a) != _machines(b):
        yield "The two sides ran on different machines: this compares machines, too. --normalise ceiling takes their ceilings out."
    if compared.floor:
        floor = compared.floor
        yield (
            f"Noise floor here: two runs of the same thing differ by up to {_rough(floor.fraction)}, and a difference is seen from "
            f"{_rough(floor.detectable_fraction)} (self-test {floor.run_id}, {floor.rounds} pairs). It bounds sides of one record; several "
            "show by themselves what processes differ by."
        )
    else:
        yield (
            "No noise floor of this machine: two runs may differ by more than their samples show. Take one with: python -m bench selftest"
        )
    if any(row.phase and min(row.records_a, row.records_b) == 1 for row in compared.phases):
        yield "One record on a side: how much fresh processes differ was not seen. Several records on a side are pooled as repeats."
    for name in compared.only_in_b:
        yield f"Only in B: {name}"
    for side, held in (("A", a), ("B", b)):
        for code in dict.fromkeys(finding.code for record in held for finding in record.warnings):
            yield f"{side} was recorded with a warning: {code}; its report says more"
        for record in held:
            if record.status != "complete":
                yield f"{side}: {record.run_id} is {record.status}: {record.status_reason or 'no reason given'}"


def differences_table(a: Sequence[Measurement], b: Sequence[Measurement]) -> Table:
    """Settings and surroundings that are not the same on both sides."""
    rows: list[dict[str, Value]] = [{"what": name, "a": one, "b": other} for name, one, other in surroundings(a, b)]
    return Table(
        key="differences",
        title=f"What differs around them: {len(rows)} of the settings and facts recorded",
        columns=(Column(key="what", header="What"), Column(key="a", header="A"), Column(key="b", header="B")),
        rows=rows,
    )
