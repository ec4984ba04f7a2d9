"""A layout where none was given: what fits and is cut as little as helps. Rules of thumb, no search by predicted time."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.errors import DoesNotFitError
from estimators.frozen import replace
from estimators.memory.device import device_memory
from estimators.memory.holding import Holding
from estimators.step_time.layout import Layout
from estimators.step_time.machine import Machine
from estimators.step_time.work import Work
from estimators.units import format_bytes

MAX_MICRO_BATCH = 8

RECOMPUTED = 4 / 3
"""A step whose forward pass is run twice, over one where it is run once: backward costs two."""

SHARDED = 1.5
"""What weights that are gathered anew for every pass count as: taken only where nothing else fits."""

SPLIT_LOSS = 0.04
"""What every doubling of tensor or context parallelism loses, as a rule of thumb for choosing; the prediction itself says more."""

LEAST_SEQUENCE = 4096
"""Tokens that context parallelism leaves a device at least."""


def default_layout(
    holding: Holding, machine: Machine, num_devices: int, global_batch: int, *, gradient_bytes: float = 4, optimizer: str = "adamw"
) -> Layout:
    """The cut that fits and loses least to its bubble, to recomputation and to being cut, by rule of thumb; ZeRO-1, or 3 where it must.

    Sequence parallelism goes with tensor parallelism; without a pipeline the micro-batch grows to 8 where it fits. The batch
    becomes the nearest multiple of the replicas.

    Raises:
        DoesNotFitError: no such cut on so many devices; names the memory that the least one needs.
    """

    def held(layout: Layout) -> float:
        return float(device_memory(holding, layout, gradient_bytes=gradient_bytes, optimizer=optimizer).total_bytes)

    cuts = sorted(_cuts(holding.work, machine, num_devices, global_batch), key=_loss)
    found = next((layout for layout in cuts if held(layout) <= machine.memory_bytes), None)
    if found is not None:
        return next(wider for wider in _widened(found) if held(wider) <= machine.memory_bytes)
    least = min(held(layout) for layout in cuts)
    raise DoesNotFitError(
        f"no layout of {num_devices:,} devices was found that holds the training: the least needs {format_bytes(least)} per device of "
        f"{format_bytes(machine.memory_bytes)}; give more --gpus, a shorter --seq-len, or a --layout of your own"
    )


def _loss(layout: Layout) -> float:
    """Time over that of an uncut step: the bubble of 1F1B, (p - 1) / m; a forward pass of three again; a little for every halving."""
    again = (RECOMPUTED if layout.full else 1.0) * (SHARDED if layout.zero == 3 and layout.dp > 1 else 1.0)
    cuts = (layout.tp * layout.cp).bit_length() - 1
    return again * (1 + (layout.pp - 1) / layout.num_micro_batches) * (1 + SPLIT_LOSS * cuts)


def _powers(most: int) -> list[int]:
    return [2**n for n in range(most.bit_length()) if 2**n <= most]


def _cuts(work: Work, machine: Machine, num_devices: int, global_batch: int) -> Iterator[Layout]:
    for cp in (c for c in _powers(max(1, work.seq_len // LEAST_SEQUENCE)) if work.seq_len % c == 0):
        for pp in (p for p in range(1, min(work.layers, num_devices) + 1) if num_devices % (p * cp) == 0):
            for tp in (t for t in _powers(machine.domain) if work.heads % t == 0 and num_devices % (t * pp * cp) == 0):
                dp = num_devices // (tp * pp * cp)
                batch = max(1, round(global_batch / dp)) * dp
                whole = Layout(tp=tp, pp=pp, cp=cp, dp=dp, zero=1, sequence_parallel=tp > 1, global_batch=batch)
                for ep in (x for x in _powers(work.experts) if work.experts % x == 0 and (tp * cp * dp) % x == 0):
                    yield from (replace(whole, ep=ep, recompute=mode, zero=zero) for mode in ("none", "full") for zero in (1, 3))


def _widened(layout: Layout) -> Iterator[Layout]:
    """Larger micro-batches first, where there is no pipeline; the layout itself last."""
    if layout.pp == 1:
        for size in reversed(_powers(MAX_MICRO_BATCH)[1:]):
            if layout.global_batch % (layout.dp * size) == 0:
                yield replace(layout, micro_batch=size)
    yield layout
