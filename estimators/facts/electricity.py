"""What a board draws while it trains, and what a kilowatt-hour emits: one sourced figure each."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.frozen import frozen
from estimators.parsing import parse_carbon
from estimators.spec import Source

ELECTRICITY_COLUMNS = ("id", "value", "source", "url", "note")


@frozen
class Figure:
    """A number and who says so."""

    value: float
    source: Source


@functools.cache
def _figures() -> dict[str, Figure]:
    return {row.text("id"): _figure(row) for row in data.read_rows(data.file("electricity.csv"), ELECTRICITY_COLUMNS)}


def _figure(row: data.Row) -> Figure:
    """One row: a share as it is, a grid's grams per kilowatt-hour in base units."""
    share = row.text("id", choices=("power_share", "world_carbon")) == "power_share"
    return Figure(
        value=row.number("value") if share else parse_carbon(row.text("value"), "world_carbon"),
        source=Source(title=row.text("source"), url=row.text("url"), note=row.optional_text("note")),
    )


def power_share() -> Figure:
    """Share of its power limit that a device draws in training, measured on nodes; 0..1.

    >>> power_share().value
    0.76
    """
    return _figures()["power_share"]


def world_carbon() -> Figure:
    """Kilograms of CO2 equivalent per joule of electricity, the world's average.

    >>> from estimators.units import format_carbon
    >>> format_carbon(world_carbon().value)
    '473 g CO2 per kWh'
    """
    return _figures()["world_carbon"]
