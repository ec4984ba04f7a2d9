"""Names to facts: models, hardware, prices, published runs. Exact names, near misses suggested, no fallback.

A model's facts are one file in data/models/; reading it reads no other. A device is one row of data/hardware.csv.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from estimators.errors import BadValueError, UnknownNameError
from estimators.facts import data
from estimators.facts.entries import HARDWARE_COLUMNS, ModelEntry, entry_from, hardware_from
from estimators.spec import Hardware

if TYPE_CHECKING:
    from estimators.facts.prices import Price
    from estimators.facts.published_runs import PublishedRun, UtilizationRange

__all__ = [
    "ModelEntry",
    "hardware",
    "hardware_for_device",
    "hardware_ids",
    "model_entry",
    "model_ids",
    "prices",
    "published_runs",
    "utilization_range",
]

HARDWARE_LIST = "python -m bench list hardware"
"""What lists every device."""

MEMORY_MATCH_FRACTION = 0.1
"""A device shows up to 8 % less than its product's memory (ECC on GDDR6 takes 1/16); sister products differ by 17 % or more."""


@functools.cache
def model_ids() -> tuple[str, ...]:
    """Every model's id, in alphabetical order."""
    return tuple(sorted(name.removesuffix(".json") for name in os.listdir(data.file("models")) if name.endswith(".json")))


@functools.cache
def model_aliases() -> dict[str, str]:
    """Every alias, in lower case, to its model's id."""
    return data.read_json(data.file("aliases.json"))


def model_entry(name: str) -> ModelEntry:
    """The facts of a model by id or alias, upper or lower case.

    Raises:
        UnknownNameError: no model has that name.

    >>> model_entry("gpt-3").id
    'gpt-3-175b'
    >>> model_entry("microsoft/phi-2").published_params
    2779683840
    """
    key = name.casefold()
    model_id = key if key in model_ids() else model_aliases().get(key)
    if model_id is None:
        raise UnknownNameError("model", name, (*model_ids(), *model_aliases()), "python -m bench list models")
    return entry_from(data.read_json(data.file("models", f"{model_id}.json")), f"models/{model_id}.json", key)


@functools.cache
def _hardware_rows() -> dict[str, data.Row]:
    return {row.text("id"): row for row in data.read_rows(data.file("hardware.csv"), HARDWARE_COLUMNS)}


def hardware_ids() -> tuple[str, ...]:
    """Every device's id, in the order of hardware.csv: by vendor and generation."""
    return tuple(_hardware_rows())


@functools.cache
def driver_names() -> dict[str, tuple[str, ...]]:
    """What drivers print, in lower case, to the ids of the products that print it."""
    printed: dict[str, tuple[str, ...]] = {}
    for device_id, row in _hardware_rows().items():
        for name in row.texts("device_names"):
            printed[name.casefold()] = (*printed.get(name.casefold(), ()), device_id)
    return printed


def hardware_words(device_id: str) -> tuple[tuple[str, ...], str, str, int]:
    """What a product is called, by its vendor and by drivers; its vendor, its architecture, and its memory in bytes."""
    row = _hardware_rows()[device_id]
    return (row.text("name"), *row.texts("device_names")), row.text("vendor"), row.text("architecture"), row.integer("memory_bytes")


@functools.cache
def hardware(name: str) -> Hardware:
    """A device by id or by the exact name that its driver reports, upper or lower case.

    Raises:
        UnknownNameError: no device has that name; there is no fallback.
        BadValueError: several products print that driver name.

    >>> hardware("a100-sxm4-80gb").peak("bf16")
    312000000000000.0
    """
    rows, key = _hardware_rows(), name.casefold()
    if key in rows:
        return hardware_from(rows[key])
    printed_by = driver_names().get(key, ())
    if len(printed_by) > 1:
        ids = ", ".join(printed_by)
        raise BadValueError(f"several products print the name {name!r}; give one of their ids: {ids}")
    if not printed_by:
        raise UnknownNameError("GPU", name, rows, HARDWARE_LIST)
    return hardware_from(rows[printed_by[0]])


def hardware_for_device(driver_name: str, memory_bytes: int | None = None) -> Hardware | None:
    """The device that a driver reports, or None where it is unknown: no fallback, no guess.

    Args:
        driver_name: exactly as the driver prints it; never a part of a name.
        memory_bytes: as the driver reports it. Tells products apart that print one name, and refuses a product
            whose memory is another (a sister card, a slice of a card).

    >>> hardware_for_device("NVIDIA L40S").id, hardware_for_device("NVIDIA L40S Turbo")
    ('l40s-48gb', None)
    """
    named = [row for row in _hardware_rows().values() if driver_name.strip() in row.texts("device_names")]
    if memory_bytes is not None:
        named = [row for row in named if _has_memory(row, memory_bytes)]
    return hardware(named[0].text("id")) if len(named) == 1 else None


def _has_memory(row: data.Row, memory_bytes: int) -> bool:
    if row.text("memory_basis") == "largest configuration":
        return True
    listed_bytes = row.integer("memory_bytes")
    return abs(listed_bytes - memory_bytes) < MEMORY_MATCH_FRACTION * listed_bytes


def prices(hardware_id: str) -> tuple[Price, ...]:
    """Rental prices of a device, one range per kind of provider; empty where none was seen. Raises UnknownNameError."""
    from estimators.facts.prices import price_ranges

    return price_ranges(hardware(hardware_id).id)


def published_runs() -> tuple[PublishedRun, ...]:
    """Published training runs whose utilisation was reported or follows from what was."""
    from estimators.facts.published_runs import read_runs

    return read_runs()


def utilization_range(device: Hardware | str | None = None) -> UtilizationRange:
    """Utilisation of the published runs on a device's architecture, or on all hardware where there is none.

    Args:
        device: or its id; None for all hardware.

    Raises:
        UnknownNameError: no such device.
    """
    from estimators.facts.published_runs import summarize

    device = hardware(device) if isinstance(device, str) else device
    architecture = device.architecture if device else None
    return summarize(published_runs(), hardware, architecture)
