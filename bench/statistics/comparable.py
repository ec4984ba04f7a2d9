"""What makes two records comparable, and in what surroundings they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.asked import Asked
from bench.records.record import Measurement
from bench.records.typed_json import plain

IDENTITY: Mapping[str, str] = {
    "model": "model",
    "config": "configuration",
    "task": "task",
    "batch": "batch",
    "seq_len": "sequence length",
    "new_tokens": "number of new tokens",
    "num_beams": "number of beams",
    "dtype": "dtype",
    "layers": "depth of slices",
    "weights_label": "kind of weights",
    "weights": "weights",
    "optimizer": "optimizer",
    "hidden_layers": "number of hidden layers",
    "neurons": "number of neurons",
    "days": "number of days",
    "epochs": "number of epochs",
}
"""Fields of a request that say what the work is -> what a person calls them. Two records that differ in one are no repeats of one
another and no two ways to do the same: all else (attention, compile, recompute, device, seed) may be just what is compared."""

VOLATILE = frozenset({"environment.argv", "environment.cpu.load_1min", "environment.memory.available_bytes"})
"""What differs between any two runs and tells nothing."""

MAX_CHARS = 60

MAX_TOLD = 3
"""Differences that are named of a case without a counterpart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCase:
    """Records of the same work.

    Attributes:
        name: for people; unlike those of other cases on its side.
        task: of the request.
        identity: field of IDENTITY, or method, to its value.
        records: that have samples or not, in the order given.
    """

    name: str
    task: str
    identity: Mapping[str, Any]
    records: tuple[Measurement, ...]


def cases(records: Sequence[Measurement]) -> dict[str, ComparedCase]:
    """Records grouped by what they measured, self-tests and pure estimates left out."""
    grouped: dict[str, list[Measurement]] = {}
    for record in records:
        if record.request.task not in ("selftest", "estimate"):
            grouped.setdefault(json.dumps(identity(record), sort_keys=True), []).append(record)
    names = {key: _name(held[0].request) for key, held in grouped.items()}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        key: ComparedCase(
            name=names[key] + (f" ({held[0].run_id})" if names[key] in twice else ""),
            task=held[0].request.task,
            identity=identity(held[0]),
            records=tuple(held),
        )
        for key, held in grouped.items()
    }


def identity(record: Measurement) -> dict[str, Any]:
    """What the work of a record is, and the method that timed it."""
    return {name: getattr(record.request, name) for name in IDENTITY} | {"method": record.timing_method}


def _name(asked: Asked) -> str:
    """Model, task and the sizes that tell cases apart.

    >>> _name(Asked(model="gpt2", task="train", batch=4, seq_len=128, dtype="fp32"))
    'gpt2 train, batch 4, sequence 128, fp32'
    """
    sizes = (("batch {}", asked.batch), ("sequence {}", asked.seq_len), ("{} new tokens", asked.new_tokens), ("{}", asked.dtype))
    return ", ".join([f"{asked.model} {asked.task}", *(text.format(size) for text, size in sizes if size)])


def differing(one: ComparedCase, other: ComparedCase) -> list[tuple[str, str, str]]:
    """Fields of the identity in which two cases differ: what a person calls it, and both values."""
    differences = []
    for name in one.identity:
        a, b = one.identity[name], other.identity.get(name)
        if a != b:
            said = IDENTITY.get(name, "timing method")
            short = ("its own", "other values") if name == "config" else (_short(a), _short(b))
            differences.append((said, *short))
    return differences


def no_counterpart(one: ComparedCase, in_a: Mapping[str, ComparedCase], in_b: Mapping[str, ComparedCase]) -> str:
    """Why nothing in B can be held against a case: what differs from the likest, or that there is none."""
    free = [case for key, case in in_b.items() if key not in in_a]
    if not free:
        return "B has nothing like it"
    likest = min(free, key=lambda case: len(differing(one, case)))
    told = [f"another {name}: {a} against {b}" for name, a, b in differing(one, likest)]
    more = f"; and {len(told) - MAX_TOLD} more" if len(told) > MAX_TOLD else ""
    return "; ".join(told[:MAX_TOLD]) + more


def surroundings(one: Sequence[Measurement], other: Sequence[Measurement]) -> Iterator[tuple[str, str, str]]:
    """Settings and environment in which the two sides differ, by dotted name, with the values of each side; nothing that agrees."""
    sides = [[dict(_settings(record)) for record in side] for side in (one, other)]
    names = dict.fromkeys(name for side in sides for held in side for name in held)
    for name in names:
        a, b = (sorted({_short(held.get(name)) for held in side}) for side in sides)
        if a != b:
            yield name, " or ".join(a), " or ".join(b)


def _settings(record: Measurement) -> Iterator[tuple[str, Any]]:
    skipped = {*IDENTITY, "dtype_reason", "input_label", "prompt"}
    asked = {name: value for name, value in plain(record.request).items() if name not in skipped}
    yield from _flat(asked, "request")
    environment = {name: value for name, value in plain(record.environment).items() if name != "unavailable"}
    yield from _flat(environment, "environment")


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}")
    elif name not in VOLATILE:
        yield name, value


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
