"""CUDA_VISIBLE_DEVICES: which of a machine's GPUs it leaves to a process, read as torch reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

FULL, SLICE = "GPU-", "MIG-"

Entry = TypeVar("Entry")
Meaning = TypeVar("Meaning")


def chosen(asked: str, uuids: Sequence[str]) -> tuple[list[int], str]:
    """Ordinals of the GPUs that are left, in CUDA's order, and why some entries leave none; "" where all do.

    The first entry decides the form: after a UUID, or its beginning, come UUIDs alone; else whole numbers, of which whatever
    follows the digits is passed over. An entry that names no GPU, or several, ends the list; one that is named twice empties it.

    Source: torch.cuda._parse_visible_devices, _transform_uuid_to_ordinals and _device_count_nvml.

    >>> uuids = ["GPU-aa1", "GPU-aa2", "GPU-bbb"]
    >>> [chosen(asked, uuids)[0] for asked in ("2,0", "GPU-b,GPU-aa1", "1gpu2,2ampere", "0,GPU-b", "0,0")]
    [[2, 0], [2, 0], [1, 2], [0], []]
    """
    entries = asked.split(",")
    if entries[0].startswith(SLICE):
        return [], f"{entries[0][:80]} is a slice of a GPU (MIG); NVML's counters are of whole GPUs"
    if entries[0].startswith(FULL):
        named, ended = _until_one_means_nothing(entries, lambda entry: entry if entry.startswith(FULL) else None)
        ordinals, unknown = _until_one_means_nothing(named, lambda beginning: _only_match(beginning, uuids))
    else:
        numbers, ended = _until_one_means_nothing(entries, lambda entry: _leading_number(entry.strip()))
        ordinals, unknown = _until_one_means_nothing(numbers, lambda number: number if number < len(uuids) else None)
    hidden = unknown or ended
    return ordinals, hidden and f"CUDA_VISIBLE_DEVICES={asked[:80]!r} hides all{hidden}"


def _until_one_means_nothing(entries: Sequence[Entry], meaning: Callable[[Entry], Meaning | None]) -> tuple[list[Meaning], str]:
    """What the entries mean, up to the first that means nothing; nothing at all where two mean the same. And which, for a message."""
    meant: list[Meaning] = []
    for entry in entries:
        value = meaning(entry)
        if value is None:
            return meant, f" from {str(entry)[:40]!r} on"
        if value in meant:
            return [], f": {str(entry)[:40]!r} names a GPU again"
        meant.append(value)
    return meant, ""


def _only_match(beginning: str, uuids: Sequence[str]) -> int | None:
    matches = [ordinal for ordinal, uuid in enumerate(uuids) if uuid.startswith(beginning)]
    return matches[0] if len(matches) == 1 else None


def _leading_number(entry: str) -> int | None:
    """The whole number that a text begins with, as C's strtoul finds it; None without one, or below 0."""
    end = next((i for i, c in enumerate(entry) if not (c.isdigit() or (i == 0 and c in "+-"))), len(entry))
    try:
        number = int(entry[:end])
    except ValueError:
        return None
    return number if number >= 0 else None
