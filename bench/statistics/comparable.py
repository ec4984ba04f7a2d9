"""What makes two records comparable: that they are of the same work, but for what was stated to differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.asked import Asked
from bench.records.record import Measurement
from bench.records.request import ACROSS
from bench.statistics.noise_floor import machine

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
    "train_days": "number of training days",
    "epochs": "number of epochs",
}
"""Fields of a request that say what the work is -> what a person calls them. Two records that differ in one are no repeats of one
another and no two ways to do the same: all else (attention, compile, recompute, device, seed) may be just what is compared."""

DTYPE_IN_CONFIG = ("dtype", "torch_dtype")
"""Where transformers keeps the dtype of a network in its configuration."""

UNLIKE_FRACTION = 0.01
"""Two trainings whose average steps differ by more in tokens or samples did not do the same work."""

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
            values = ("its own", "other values") if name == "config" else (short(a), short(b))
            differences.append((said, *values))
    return differences


def counterparts(
    in_a: Mapping[str, ComparedCase], in_b: Mapping[str, ComparedCase], across: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Which case of B each of A is held against: the same one, else the only one that is the same but for what was stated to differ.

    Args:
        in_a, in_b: of `cases`.
        across: names of ACROSS.

    Returns:
        Key in A to key in B; and key in A to why none of several could be chosen.
    """
    found = {key: key for key in in_a if key in in_b}
    free: dict[str, tuple[list[str], list[str]]] = {}
    for side, cases_of_side in enumerate((in_a, in_b)):
        for key, case in cases_of_side.items():
            if key not in found:
                free.setdefault(_but_for(case, across), ([], []))[side].append(key)
    unclear: dict[str, str] = {}
    for of_a, of_b in free.values():
        if len(of_a) == len(of_b) == 1:
            found[of_a[0]] = of_b[0]
        elif of_a and of_b:
            why = f"across {' and '.join(across)}, {len(of_a)} of A are like {len(of_b)} of B: leave one of them on each side"
            unclear |= dict.fromkeys(of_a, why)
    return found, unclear


def _but_for(case: ComparedCase, across: Collection[str]) -> str:
    """The identity of a case without what was stated to differ, as one text."""
    left = {name: value for name, value in case.identity.items() if not any(name in ACROSS[stated] for stated in across)}
    if "dtype" in across and isinstance(left["config"], Mapping):
        left["config"] = {name: value for name, value in left["config"].items() if name not in DTYPE_IN_CONFIG}
    return json.dumps(left, sort_keys=True)


def apart(one: ComparedCase, other: ComparedCase) -> tuple[str, str] | None:
    """The machines of both sides where they are not the same ones."""
    a, b = (" and ".join(sorted({machine(record) for record in case.records})) for case in (one, other))
    return None if a == b else (a, b)


def unlike_steps(one: ComparedCase, other: ComparedCase) -> str:
    """Why watched trainings did not do the same work though they were asked to: their steps held more or less, as one cut short may."""
    a, b = (_items_per_step(case) for case in (one, other))
    if a is None or b is None or abs(a - b) <= UNLIKE_FRACTION * max(a, b):
        return ""
    return f"a step of A held {a:.4g} tokens or samples on average, one of B {b:.4g}: they did not do the same work"


def _items_per_step(case: ComparedCase) -> float | None:
    """Tokens or samples of an average step over all watched records; None where any was not watched."""
    held = [r.proof.watched.tokens_per_step or r.proof.watched.samples_per_step for r in case.records if r.proof.watched]
    sizes = [size for sizes in held for size in sizes]
    return sum(sizes) / len(sizes) if sizes and len(held) == len(case.records) else None


def no_counterpart(one: ComparedCase, in_a: Mapping[str, ComparedCase], in_b: Mapping[str, ComparedCase]) -> str:
    """Why nothing in B can be held against a case: what differs from the likest, or that there is none."""
    free = [case for key, case in in_b.items() if key not in in_a]
    if not free:
        return "B has nothing like it"
    likest = min(free, key=lambda case: len(differing(one, case)))
    told = [f"another {name}: {a} against {b}" for name, a, b in differing(one, likest)]
    more = f"; and {len(told) - MAX_TOLD} more" if len(told) > MAX_TOLD else ""
    return "; ".join(told[:MAX_TOLD]) + more


def short(value: Any) -> str:
    """A value of a setting as it is shown, cut where it is long."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
