"""A calibration on one screen, and its check: what the device reaches, or how far predictions are off."""

from __future__ import annotations

from collections.abc import Sequence

from reports.screen import Screen, columns_kept
from reports.table import Table


def calibration_screen(tables: Sequence[Table]) -> Screen:
    """What a device reaches.

    Args:
        tables: all of it, as `calibration_tables` makes them: rates, products, perhaps collectives, what the host costs.
    """
    rates, host = tables[0], tables[-1]
    best = max((row for row in rates.rows if str(row["kind"]).startswith("matmul")), key=lambda row: float(row["value"] or 0), default=None)
    reached = f"products reach {best['rate']} ({best['dtype']})" if best else "no product was timed"
    return Screen(
        answer=f"Calibrated: {reached} {rates.conditions[0]}",
        lead=["; ".join(rates.conditions[1:])],
        table=columns_kept(rates, "kind", "rate", "dtype", "spread_fraction", "shape"),
        notes=[*rates.notes, *host.notes],
        more=["calibrate --check (predict steps, then measure them)"],
    )


def check_screen(tables: Sequence[Table]) -> Screen:
    """Steps predicted, then measured.

    Args:
        tables: all of it, as `check_tables` makes them.
    """
    table = tables[0]
    error, mark = table.facts["median_error_fraction"], table.facts["mark_fraction"]
    return Screen(
        answer=table.notes[0],
        table=columns_kept(table, "workload", "error_fraction", "predicted_s", "measured_s", "spread_fraction", "reason", "drift_fraction"),
        notes=table.notes[1:2],
        failed=mark is not None and (error is None or error > mark),
    )
