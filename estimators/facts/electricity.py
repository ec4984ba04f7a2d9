"""What a board draws while it trains, and what a kilowatt-hour emits, in the world and by country: sourced figures."""

from __future__ import annotations

import functools

from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen
from estimators.parsing import parse_carbon
from estimators.spec import Source

ELECTRICITY_COLUMNS = ("id", "value", "source", "url", "note")
GRID_COLUMNS = ("id", "iso3", "name", "g_per_kwh", "year")

GRIDS = Source(
    title="Our World in Data, carbon intensity of electricity by country, as codecarbon 3.3.2 ships it (global_energy_mix.json)",
    url="https://ourworldindata.org/grapher/carbon-intensity-electricity",
    note="Grams of CO2 equivalent per kilowatt-hour generated, mean of the row's year. A region's or a contract's differs.",
)
"""Who says what a country's electricity emits."""


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


@frozen
class Grid:
    """What the electricity of a place emits.

    Attributes:
        code: ISO 3166-1 of two letters; empty where the place is the world, or is not said.
        name: of the place.
        year: that the mean is of; None where nobody says.
        carbon: kilograms of CO2 equivalent per joule, and who says so.
    """

    code: str
    name: str
    year: int | None
    carbon: Figure


WORLD = "the world's average"
WORLD_YEAR = 2024
"""Of world_carbon, as its source says."""


@functools.cache
def grids() -> dict[str, Grid]:
    """Countries by their code of two letters.

    >>> grids()["FR"].name
    'France'
    """
    return {row.text("id"): _grid(row) for row in data.read_rows(data.file("grids.csv"), GRID_COLUMNS)}


@functools.cache
def _codes() -> dict[str, str]:
    """Every name that a country goes by, in small letters -> its code of two letters."""
    rows = data.read_rows(data.file("grids.csv"), GRID_COLUMNS)
    return {row.text(column).casefold(): row.text("id") for row in rows for column in ("id", "iso3", "name")}


def _grid(row: data.Row) -> Grid:
    carbon = Figure(value=parse_carbon(row.text("g_per_kwh"), "g_per_kwh"), source=GRIDS)
    return Grid(code=row.text("id"), name=row.text("name"), year=row.integer("year"), carbon=carbon)


def grid(place: str) -> Grid:
    """What the electricity of a country emits.

    Args:
        place: ISO 3166-1 code of two or three letters, or the name in English, whatever the case.

    Raises:
        UnknownNameError: no such country here.

    >>> grid("fra").name, grid("France").year
    ('France', 2023)
    """
    code = _codes().get(place.strip().casefold())
    if code is None:
        names = [name for known in grids().values() for name in (known.code, known.name)]
        raise UnknownNameError("location", place, names, "python -m bench list grids", instead="or give --carbon with grams of CO2 per kWh")
    return grids()[code]


def world_grid() -> Grid:
    """The world's average, for electricity of which nobody says where it was made."""
    return Grid(code="", name=WORLD, year=WORLD_YEAR, carbon=world_carbon())
