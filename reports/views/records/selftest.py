"""A self-test as tables: the noise floor first, then every known truth and what was measured of it."""

from __future__ import annotations

from bench.records.record import Measurement
from bench.statistics import robust
from bench.statistics.noise_floor import ROUND_A, ROUND_B, machine, noise_floor
from estimators import units
from estimators.errors import BadRecordError
from reports.checks.crosscheck import crosscheck
from reports.table import Column, Table, Value
from reports.views.records.checks import check_table


def tables(record: Measurement) -> list[Table]:
    """The noise floor and the checks."""
    return [floor_table(record), check_table(crosscheck(record))]


def floor_table(record: Measurement) -> Table:
    """What two runs of the same thing differ by here, and from where on a difference is seen."""
    try:
        floor = noise_floor(record)
    except BadRecordError as error:
        return Table(key="selftest", title=f"Self-test without a noise floor: {error}", columns=(), rows=())
    seconds_s = robust.median([s for name in (ROUND_A, ROUND_B) if (phase := record.phase(name)) for s in phase.samples_s])
    rows: list[dict[str, Value]] = [
        _row(
            "noise_floor_fraction",
            "two runs of the same thing differ by up to",
            floor.fraction,
            units.format_fraction(floor.fraction, 2),
            "95 % of pairs",
        ),
        _row(
            "detectable_fraction",
            "smallest difference that can be seen",
            floor.detectable_fraction,
            units.format_fraction(floor.detectable_fraction, 2),
            "found in 80 % of comparisons of single runs",
        ),
        _row("kernel_s", "one call of the kernel", seconds_s, units.format_duration(seconds_s), record.request.kernel or ""),
    ]
    if record.request.kernel_flop:
        rate = record.request.kernel_flop / seconds_s
        rows.append(_row("kernel_flop_per_s", "its rate", rate, units.format_flop_rate(rate), "known FLOP over the time"))
    return Table(
        key="selftest",
        title=f"Self-test: differences from {units.format_fraction(floor.detectable_fraction, 2)} can be seen here",
        conditions=[
            f"on {machine(record)}",
            f"{floor.rounds} pairs of rounds of {record.request.samples_per_round} samples, interleaved",
        ],
        columns=(
            Column(key="figure", header="Figure", raw=True),
            Column(key="what", header="What"),
            Column(key="value", header="Value", align="right"),
            Column(key="raw_value", header="Raw value", raw=True),
            Column(key="note", header="Note"),
        ),
        rows=rows,
        notes=["Rounds of one process, minutes at most: fresh processes and other days may differ by more; repeat the runs to see that."],
        facts={str(row["figure"]): row["raw_value"] for row in rows} | {"run_id": record.run_id},
    )


def _row(figure: str, what: str, raw: float, value: str, note: str) -> dict[str, Value]:
    return {"figure": figure, "what": what, "raw_value": raw, "value": value, "note": note}
