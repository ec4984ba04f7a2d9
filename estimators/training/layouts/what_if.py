"""what_if(): one change to a plan, and what it does to each part of the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estimators.cost.layout import LAYOUT_KEYS, Layout, parse_layout
from estimators.errors import BadValueError
from estimators.facts.device_names import Taken, device_named
from estimators.facts.registry import hardware
from estimators.frozen import frozen, replace
from estimators.parsing import parse_byte_rate, parse_count, parse_length
from estimators.training.at_utilization import check_devices
from estimators.training.layouts.global_batch import parse_batch
from estimators.training.layouts.job import Job
from estimators.training.prediction import Prediction

JOB_CHANGES: dict[str, Callable[[str], Any]] = {
    "seq_len": lambda text: parse_length(text, "seq_len"),
    "dtype": str,
    "software": str,
    "optimizer": str,
    "hardware": lambda text: hardware(_device(text).hardware_id),
    "network": lambda text: parse_byte_rate(text, "network"),
}
"""What may change beside the layout, and how it is read."""


def _device(text: str) -> Taken:
    """The device that a change names. Raises UnknownNameError, and BadValueError where it says how many as well."""
    taken = device_named(text)
    if taken.num_devices is not None:
        raise BadValueError(f"what-if hardware={text[:40]} also says how many; expected the device alone, or gpus=NUM")
    return taken


FIELDS = {"software": "stack_id", "network": "network_bytes_per_s"}


@frozen
class WhatIf:
    """A step before and after one change.

    Attributes:
        fits: whether the changed one does.
        note: what had to change along.
    """

    change: str
    before: Prediction
    after: Prediction
    before_bytes: float
    after_bytes: float
    after_needed_bytes: float
    capacity_bytes: float
    fits: bool
    note: str = ""


def what_if(job: Job, layout: Layout, change: str) -> WhatIf:
    """A change such as ``gpus=2048``, ``seq_len=32768``, ``recompute=full``, ``hardware=h100-sxm5-80gb`` or ``tp=4``.

    More GPUs are more replicas of the same layout at the same global batch; a longer sequence keeps the tokens of a step where they
    divide; a part of the layout keeps the number of GPUs.

    Raises:
        BadValueError: an unknown key, or a change that breaks a rule.
    """
    key, separator, value = (part.strip() for part in change.partition("="))
    if not separator or not value:
        raise BadValueError(f"what-if {change[:40]!r}: expected KEY=VALUE, such as gpus=2048, seq_len=32768 or recompute=full")
    changed, new, note = job, layout, ""
    if key == "gpus":
        new, note = _with_gpus(layout, parse_count(value, key))
    elif key == "global_batch":
        new = replace(layout, global_batch=_sequences(value, job.seq_len))
    elif key in JOB_CHANGES:
        changed = replace(job, **{FIELDS.get(key, key): JOB_CHANGES[key](value)})
        if key == "seq_len":
            new, note = _same_tokens(layout, job.seq_len, changed.seq_len)
        elif key == "hardware":
            note = _device(value).said
    elif key in LAYOUT_KEYS:
        new = _with_part(layout, key, value)
    else:
        known = sorted({"gpus", "global_batch", *JOB_CHANGES, *LAYOUT_KEYS})
        raise BadValueError(f"what-if {change[:40]!r} changes nothing that is known; expected KEY=VALUE with one of: {', '.join(known)}")
    changed.check(new)
    return WhatIf(
        change=change,
        before=job.predict(layout),
        after=changed.predict(new),
        before_bytes=float(job.on(layout).memory_bytes(layout)),
        after_bytes=float(changed.on(new).memory_bytes(new)),
        after_needed_bytes=changed.needed_bytes(new),
        capacity_bytes=changed.capacity_bytes,
        fits=changed.fits(new),
        note=note,
    )


def _sequences(value: str, seq_len: int) -> int:
    """Sequences of a batch, which a number is that does not say what it counts. Raises BadValueError for less than one."""
    batch = parse_batch(value, "global_batch", bare="sequences")
    sequences = batch.sequences or (batch.tokens or 0) // seq_len
    if not sequences:
        raise BadValueError(f"global_batch {value[:40]!r} is less than one sequence of {seq_len:,} tokens; expected for example 512seq")
    return sequences


def _with_gpus(layout: Layout, num_devices: int) -> tuple[Layout, str]:
    check_devices(num_devices)
    replica = layout.num_devices // layout.dp
    if num_devices % replica:
        nearest = max(1, round(num_devices / replica)) * replica
        raise BadValueError(f"{num_devices:,} GPUs do not divide into replicas of {replica}; the nearest number: {nearest:,}")
    dp = num_devices // replica
    shard = layout.shard if layout.shard and dp % layout.shard == 0 else 0
    micro = layout.micro_batch
    while micro > 1 and layout.global_batch % (dp * micro):
        micro -= 1
    note = "" if micro == layout.micro_batch else f"micro_batch becomes {micro}, so that the batch divides"
    return replace(layout, dp=dp, shard=shard, micro_batch=micro), note


def _same_tokens(layout: Layout, before: int, after: int) -> tuple[Layout, str]:
    unit = layout.dp * layout.micro_batch
    batch = max(1, round(layout.global_batch * before / after / unit)) * unit
    same = batch * after == layout.global_batch * before
    note = (
        ""
        if same
        else f"a step has {batch * after:,} tokens instead of {layout.global_batch * before:,}: {batch:,} sequences are the nearest"
    )
    return replace(layout, global_batch=batch), note


def _with_part(layout: Layout, key: str, value: str) -> Layout:
    """The layout with one part changed; dp takes up the slack where degrees change."""
    kept = [part for part in str(layout).split(",") if part.partition("=")[0] not in ("dp", "shard")]
    name = {"mbs": "micro_batch", "sequence_parallel": "sp"}.get(key, key)
    kept = [part for part in kept if part.partition("=")[0] != name]
    return parse_layout(",".join([*kept, f"{name}={value}"]), num_devices=layout.num_devices, global_batch=layout.global_batch)
