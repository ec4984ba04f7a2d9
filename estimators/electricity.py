"""What a board draws while it trains, and what a kilowatt-hour emits: one sourced figure each."""

from __future__ import annotations

import functools

from estimators import data
from estimators.frozen import frozen
from estimators.spec import Source

ELECTRICITY_COLUMNS = ("id", "value", "source", "url", "note")


@frozen
class Figure:
    """A number and who says so."""

    value: float
    source: Source


@functools.cache
def _figures() -> dict[str, Figure]:
    return {
        row.text("id"): Figure(
            value=row.number("value"), source=Source(title=row.text("source"), url=row.text("url"), note=row.optional_text("note"))
        )
        for row in data.read_rows(data.file("electricity.csv"), ELECTRICITY_COLUMNS)
    }


def power_share() -> Figure:
    """Share of its power limit that a device draws in training, measured on nodes; 0..1.

    >>> power_share().value
    0.76
    """
    return _figures()["power_share"]


def world_carbon() -> Figure:
    """Grams of CO2 equivalent per kilowatt-hour, the world's average.

    >>> world_carbon().value
    473.0
    """
    return _figures()["carbon_g_per_kwh"]
