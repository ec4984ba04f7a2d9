"""How far a predicted step time may be off: quantiles of what was missed on sources that no fit had seen, by class and device."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from typing import Any

from estimators.cost.machine import MeasuredRates, ceilings, machine_spread
from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Hardware

COVERAGE = 0.8
"""Share of cases that the interval should hold."""

CLASSES = {
    "megatron-dense": "dense models under Megatron",
    "other-software": "dense models under other software",
    "experts": "mixtures of experts",
    "unmeasured-device": "devices, or kinds of layers, of which no step was measured",
    "completed-row": "rows of tables that rules completed",
}
"""Classes of cases, each with an interval of its own: what a case is missed by depends on how much was measured of its kind."""

PRODUCTS_SHARE = 0.7
"""Of a step, what goes with the rate of matrix products: the share of products in the ledgers of large models, 0.6 to 0.8."""

ENOUGH = 5
"""Rows from which a track record says something."""

BAD_MEDIAN, BAD_COVERAGE = 0.2, 0.6
"""A median error above the one, or an interval that held less often than the other, is worth a sentence."""


@frozen
class TrackRecord:
    """What steps like one were missed by, each predicted by constants that its source had no part in.

    Attributes:
        rows: measured steps.
        median_error, bias: median of the absolute and of the signed relative error.
        coverage: share of rows that the interval held.
        ends: quantiles of the logarithm of measured over predicted that the interval is made of.
    """

    rows: int
    median_error: float
    bias: float
    coverage: float
    ends: tuple[float, float]

    @property
    def is_far_off(self) -> bool:
        """Whether enough rows were missed by much."""
        return self.rows >= ENOUGH and self.median_error > BAD_MEDIAN

    @property
    def is_bad(self) -> bool:
        """Whether they were, or lay outside the interval too often."""
        return self.is_far_off or (self.rows >= ENOUGH and self.coverage < BAD_COVERAGE)

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {100 * self.median_error:.2g} % median, held {100 * self.coverage:.0f} %"


@functools.cache
def track_records() -> Mapping[str, Mapping[str, TrackRecord]]:
    """Kind (class, device, software) -> name -> what its rows were missed by; printed by ``python -m tools.left_out``."""
    body: dict[str, dict[str, dict[str, Any]]] = data.read_json(data.file("track_record.json"))
    return {
        kind: {name: TrackRecord(**(facts | {"ends": tuple(facts["ends"])})) for name, facts in names.items()}
        for kind, names in body.items()
    }


def track_record(kind: str, name: str) -> TrackRecord | None:
    """The record of a class, a device or a software; None where no step of it was measured.

    >>> track_record("device", "a100-sxm4-80gb").rows > 100, track_record("device", "t4-16gb")
    (True, None)
    """
    return track_records()[kind].get(name)


@functools.cache
def _architectures(devices: tuple[str, ...]) -> frozenset[str]:
    from estimators.facts.registry import hardware  # deferred: a device on which steps were measured asks for no other

    return frozenset(_generation(hardware(name)) for name in devices)


def _generation(hardware: Hardware) -> str:
    return hardware.architecture.split(" (")[0]


def has_measured_steps(hardware: Hardware) -> bool:
    """Whether any step that is in the score ran on the device's architecture."""
    return _generation(hardware) in _architectures(tuple(track_records()["device"]))


def is_measured(hardware: Hardware, own: MeasuredRates | None = None, *, devices: Collection[str] | None = None) -> bool:
    """Whether steps were measured on a device, or on its architecture while its own matmul ceiling is known.

    Args:
        own: rates that the user measured.
        devices: ids of those on which steps were measured; None for those of the track records.
    """
    if devices is None:
        devices = track_records()["device"]
    if hardware.id in devices:
        return True
    known = any(name == hardware.id for name, _ in ceilings()) or (own is not None and own.hardware_id == hardware.id)
    return known and _generation(hardware) in _architectures(tuple(devices))


def case_class(stack_id: str, *, experts: bool, measured: bool, scans: bool = False) -> str:
    """The class of a case, one of CLASSES.

    Args:
        experts: whether the model is a mixture of experts.
        measured: whether its device is.
        scans: whether the model has scans of a state, of which no step was measured on any device.
    """
    if not measured or scans:
        return "unmeasured-device"
    if experts:
        return "experts"
    return "megatron-dense" if stack_id.startswith("megatron") else "other-software"


def interval(name: str, hardware: Hardware) -> tuple[float, float]:
    """Factors on a predicted step time, below and above, that held 80 % of left-out cases of a class.

    Where the device's own steps were missed by much, what held 80 % of them besides: one machine is not another.
    """
    of_class, of_device = track_record("class", name), track_record("device", hardware.id)
    found = [of_class.ends] if of_class else []
    if of_device and of_device.is_far_off:
        found.append(of_device.ends)
    return math.exp(min([0.0, *(low for low, _ in found)])), math.exp(max([machine_room(hardware.id), *(high for _, high in found)]))


def machine_room(hardware_id: str) -> float:
    """Logarithm of how much longer a step takes on the slowest machine of its kind that was measured; 0 where one was."""
    return PRODUCTS_SHARE * math.log(machine_spread(hardware_id))
