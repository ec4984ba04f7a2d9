"""In what two sides' settings and environments differ. What differs between any two runs, and what a meter wanders by, is no difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.records.record import Measurement
from bench.records.typed_json import plain
from bench.statistics.comparable import IDENTITY, short

VOLATILE = frozenset(
    {
        "environment.argv",
        "environment.cpu.load_1min",
        "environment.memory.available_bytes",
        "environment.observer",
        "environment.unavailable",
        "request.repeat",
        "request.num_repeats",
        "request.repeat_group",
    }
)
"""What differs between any two runs and tells nothing, each with all below it; load is judged apart."""

METERED, METER_FRACTION = ("_w", "_bytes", "_hz"), 0.01
"""Endings of figures that the system reads off a meter, which wander: a power limit, the memory of a machine. They differ from 1 %."""

LOAD, LOAD_FRACTION = "environment.cpu.load_1min", 0.25
"""The load of other programs differs where it is apart by more than this share of the processors."""


def surroundings(one: Sequence[Measurement], other: Sequence[Measurement]) -> Iterator[tuple[str, str, str]]:
    """Settings and environment in which the two sides differ, by dotted name, with the values of each side; nothing that agrees."""
    sides = [[dict(_settings(record)) for record in side] for side in (one, other)]
    names = dict.fromkeys(name for side in sides for held in side for name in held)
    for name in names:
        a, b = ([held.get(name) for held in side] for side in sides)
        shown_a, shown_b = (sorted({short(value) for value in values}) for values in (a, b))
        if shown_a != shown_b and not _within_meter(name, [*a, *b]):
            yield name, " or ".join(shown_a), " or ".join(shown_b)
    yield from _load(one, other)


def _within_meter(name: str, values: Sequence[Any]) -> bool:
    """Whether the values of all records are one, as well as a meter can tell."""
    read = [float(value) for value in values if isinstance(value, int | float)]
    return name.endswith(METERED) and len(read) == len(values) and max(read) - min(read) <= METER_FRACTION * max(read)


def _load(one: Sequence[Measurement], other: Sequence[Measurement]) -> Iterator[tuple[str, str, str]]:
    cpus = [record.environment.cpu for record in (*one, *other)]
    cores = min((cpu.logical_cores for cpu in cpus if cpu and cpu.logical_cores), default=None)
    sides = [[r.environment.cpu.load_1min for r in side if r.environment.cpu] for side in (one, other)]
    known = [[load for load in loads if load is not None] for loads in sides]
    if cores is None or not all(known):
        return
    a, b = (sum(loads) / len(loads) for loads in known)
    if abs(a - b) > LOAD_FRACTION * cores:
        yield LOAD, f"{a:.1f} of {cores} processors", f"{b:.1f} of {cores} processors"


def _settings(record: Measurement) -> Iterator[tuple[str, Any]]:
    skipped = {*IDENTITY, "dtype_reason", "input_label", "prompt"}
    yield from _flat({name: value for name, value in plain(record.request).items() if name not in skipped}, "request")
    yield from _flat(plain(record.environment), "environment")


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The single values below a name; a list of objects, such as the GPUs, by the number of each."""
    if name in VOLATILE or name.endswith(".unavailable"):
        return
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = {str(number): item for number, item in enumerate(value)}
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}")
    else:
        yield name, value
