"""Both sides of a comparison sample by sample, as multiples of A's typical time; and every row's ratio with what counts as none."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from bench.statistics.comparable import cases, counterparts
from bench.statistics.comparison import Comparison, PhaseComparison, Scale, series_of
from estimators import units
from reports.table import Column, Table, Value

MOST_ROWS = 20
"""Ratios that have room in one picture."""


def ratios_table(compared: Comparison) -> Table:
    """One row for each phase that was held against the other, B over A, with its interval."""
    short = {row.case: row.case.partition(",")[0] for row in compared.phases}
    names = {case: name if list(short.values()).count(name) == 1 else case for case, name in short.items()}
    rows: list[dict[str, Value]] = [
        {
            "name": f"{names[row.case]}: {row.phase}",
            "case": row.case,
            "phase": row.phase,
            "verdict": row.verdict,
            "ratio": 1 + row.change_fraction,
            "ratio_low": None if row.low_fraction is None else 1 + row.low_fraction,
            "ratio_high": None if row.high_fraction is None else 1 + row.high_fraction,
        }
        for row in compared.phases
        if row.change_fraction is not None
    ]
    return Table(
        key="ratios",
        title="Times of B over those of A, with their interval",
        columns=[
            Column(key="name", header="What"),
            Column(key="case", header="Case"),
            Column(key="phase", header="Phase"),
            Column(key="verdict", header="Verdict"),
            *(
                Column(key=key, header=header, format=_times, align="right")
                for key, header in (("ratio", "B over A"), ("ratio_low", "from"), ("ratio_high", "to"))
            ),
        ],
        rows=rows,
        facts={**_bands(compared), "even": 1.0},
        kind="derived",
    )


def distributions_table(
    compared: Comparison, a: Sequence[Measurement], b: Sequence[Measurement], *, scale: Scale | None, across: Sequence[str]
) -> Table:
    """Every sample of the row that the verdict rests on, the shortest first, with the share of its side that is no longer."""
    decisive = compared.decisive
    rows = _samples(decisive, a, b, scale, across) if decisive and decisive.a else []
    return Table(
        key="distributions",
        title="Both sides, sample by sample",
        columns=[
            Column(key="side", header="Side"),
            Column(key="of_a", header="Time over A's typical one", format=_times, align="right"),
            Column(key="not_longer_fraction", header="of the side are no longer", format=units.format_fraction, align="right"),
        ],
        rows=rows,
        facts={
            **_bands(compared),
            "case": decisive.case if decisive else None,
            "phase": decisive.phase if decisive else None,
            "ratio": decisive.b / decisive.a if decisive and decisive.a and decisive.b else None,
            "typical_a": 1.0,
        },
        kind="measured",
    )


def _times(ratio: float) -> str:
    return units.format_ratio(ratio)


def _bands(compared: Comparison) -> dict[str, float | None]:
    """Between what ratios nothing is seen, by the noise floor, and nothing matters, by the threshold."""
    floor, threshold = compared.floor.fraction if compared.floor else None, compared.threshold_fraction
    return {
        "noise_low": None if floor is None else 1 / (1 + floor),
        "noise_high": None if floor is None else 1 + floor,
        "threshold_low": 1 / (1 + threshold),
        "threshold_high": 1 + threshold,
        "noise_floor_fraction": floor,
        "threshold_fraction": threshold,
    }


def _samples(
    row: PhaseComparison, a: Sequence[Measurement], b: Sequence[Measurement], scale: Scale | None, across: Sequence[str]
) -> list[dict[str, Value]]:
    in_a, in_b = cases(a), cases(b)
    found, _ = counterparts(in_a, in_b, across)
    key = next(key for key in found if in_a[key].name == row.case)
    rows: list[dict[str, Value]] = []
    assert row.a is not None
    for side, case in (("A", in_a[key]), ("B", in_b[found[key]])):
        series, _ = series_of(case, row.phase, scale)
        samples = sorted(sample for one in series for sample in one)
        rows += [
            {"side": side, "of_a": sample / row.a, "not_longer_fraction": place / len(samples)} for place, sample in enumerate(samples, 1)
        ]
    return rows
