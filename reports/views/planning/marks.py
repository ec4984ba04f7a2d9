"""The marks of several kinds of device: the fastest, the cheapest and the best value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators.frozen import replace
from estimators.training.offers import Mark, Offer, beaten_by, best_offers
from estimators.units import format_days, format_grouped, format_money
from reports.table import Column, Table, Value

FASTEST: Mark = "fastest"
BEST_VALUE: Mark = "best value"
LEAST_DEVICE_TIME = "least GPU time"
DEVICE_TIME = "gpu_days"
"""The column that ranks where the kinds run on different numbers of devices."""

BEST_VALUE_NOTE = "best value: the least of time x cost."

Row = Mapping[str, Value]

BEATEN_BY = Column(key="beaten_by", header="beaten by", raw=True)
"""The device that is as fast and as cheap, and better in one of the two."""


def with_beaten(rows: Sequence[Row], *, time: str, cost: str) -> list[Row]:
    """Rows of devices, each with the one that beats it in time and money alike.

    Args:
        time, cost: keys.
    """
    places = beaten_by(_offers(rows, time, cost))
    return [{**row, "beaten_by": None if at is None else rows[at]["hardware"]} for row, at in zip(rows, places, strict=True)]


def _offers(rows: Sequence[Row], time: str, cost: str) -> list[Offer]:
    return [
        Offer(time=_optional_number(row, time), cost_usd=_optional_number(row, cost), fits=row.get("fits") is not False) for row in rows
    ]


def best_rows(table: Table, *, time: str, cost: str) -> dict[str, Row]:
    """Mark -> the row that has it, of those that fit; without the marks that nothing can tell.

    Args:
        time, cost: keys of columns.
    """
    offers = _offers(table.rows, time, cost)
    called: dict[str, str] = {FASTEST: LEAST_DEVICE_TIME} if time == DEVICE_TIME else {}
    return {called.get(mark, mark): table.rows[place] for mark, place in best_offers(offers).items()}


def marked(table: Table, marks: Mapping[str, Row]) -> Table:
    """The table with its marks behind the first column."""
    rows = [{**row, "mark": ", ".join(mark for mark, best in marks.items() if best is row) or ""} for row in table.rows]
    first, *others = table.columns
    return replace(table, columns=[first, Column(key="mark", header=""), *others], rows=rows)


def marks_text(marks: Mapping[str, Row], *, time: str, cost: str) -> str:
    """Each device with its marks, such as ``fastest h200-sxm-141gb (6.87 days), cheapest and best value l40s ($3.10 k)``.

    Args:
        time, cost: keys of columns; both times are in days.
    """
    by_device: dict[str, list[str]] = {}
    for mark, row in marks.items():
        by_device.setdefault(str(row["hardware"]), []).append(mark)
    said = []
    for device, named in by_device.items():
        row = marks[named[0]]
        figures = [f"{format_grouped(_number(row, time))} GPU-days" if time == DEVICE_TIME else format_days(_number(row, time))]
        figures += [format_money(_number(row, cost))] if row.get(cost) is not None else []
        marked_as = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
        said.append(f"{marked_as} {device} ({', '.join(figures)})")
    return "; ".join(said)


def _optional_number(row: Row, key: str) -> float | None:
    return None if row.get(key) is None else _number(row, key)


def _number(row: Row, key: str) -> float:
    value = row[key]
    assert isinstance(value, int | float)
    return value
