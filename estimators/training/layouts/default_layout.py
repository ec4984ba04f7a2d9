"""A layout where none was given: the fastest of a short list that fits, in milliseconds and without numpy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from estimators.cost.layout import Layout
from estimators.cost.machine import Machine
from estimators.errors import DoesNotFitError
from estimators.frozen import replace
from estimators.memory.device import device_memory
from estimators.memory.layer_memory import Holding
from estimators.training.layouts.usual_batch import ROUNDING
from estimators.training.sequence_cost import Work
from estimators.units import format_bytes

MICRO_BATCHES = (1, 2, 4)

AGAIN = {"none": 1.0, "selective": 1.03, "full": 4 / 3}
"""Time of a step over one that recomputes nothing: backward costs twice what forward does, norms and activations little."""

SPLIT_LOSS = 0.04
"""What every doubling of tensor or context parallelism loses, as a rule of thumb for choosing; the prediction itself says more."""

STAGES = (1, 3)
"""ZeRO stages that are tried: what costs nothing, and what holds most."""

LEAST_SEQUENCE = 4096
"""Tokens that context parallelism leaves a device at least."""


SHORTLIST = 3
"""Cuts that are priced for each ZeRO stage: the most promising by rule of thumb of those that fit."""

MAX_IMBALANCE = 1.03
"""Layers of the fullest chunk over the mean that interleaving may leave."""


def default_layout(
    holding: Holding,
    machine: Machine,
    num_devices: int,
    global_batch: int,
    *,
    step_time_s: Callable[[Layout], float],
    gradient_bytes: float = 4,
    optimizer: str = "adamw",
) -> Layout:
    """The fastest per sequence of a short list: cuts that fit, the most promising by rule of thumb, each interleaved and widened.

    A search over every legal layout (`search`) needs numpy and finds a few percent more; this one costs milliseconds.
    Sequence parallelism goes with tensor parallelism. The batch stays what it is where
    any cut allows it, else it becomes the nearest multiple of the replicas.

    Args:
        step_time_s: predicted seconds of one step under a layout.

    Raises:
        DoesNotFitError: no such cut on so many devices; names the memory that the least one needs.
    """

    def held(layout: Layout) -> float:
        return float(device_memory(holding, layout, gradient_bytes=gradient_bytes, optimizer=optimizer).total_bytes)

    def fits(layout: Layout) -> bool:
        return bool(held(layout) <= machine.memory_bytes)

    cuts = sorted(_cuts(holding.work, machine, num_devices, global_batch), key=lambda cut: (cut.moves_batch, cut.loss))
    chosen: list[Layout] = []
    for stage in STAGES:
        found = ((cut, layout) for cut in cuts if cut.zero == stage and fits(layout := cut.layout()))
        chosen += [layout for cut, layout in islice(found, SHORTLIST) if not cut.moves_batch or not chosen]
    if chosen:
        variants = [variant for cut in chosen for variant in _variants(cut, holding.work) if variant == cut or fits(variant)]
        return min(variants, key=lambda layout: step_time_s(layout) / layout.global_batch)
    least = min(held(cut.layout()) for cut in cuts)
    raise DoesNotFitError(
        f"no layout of {num_devices:,} devices was found that holds the training: the least needs {format_bytes(least)} per device of "
        f"{format_bytes(machine.memory_bytes)}; give more --gpus, a shorter --seq-len, or a --layout of your own"
    )


class _Cut:
    """A layout that is not made yet: what it should cost by rule of thumb, so that only the promising ones are."""

    __slots__ = ("_fields", "loss", "moves_batch", "zero")

    def __init__(self, loss: float, moves_batch: bool, fields: dict[str, Any]) -> None:
        self.loss, self.moves_batch, self._fields, self.zero = loss, moves_batch, fields, fields["zero"]

    def layout(self) -> Layout:
        """The layout itself."""
        return Layout(**self._fields)


@functools.cache
def _finest(pp: int, layers: int) -> int:
    """The most chunks per stage that leave its layers nearly even; 1 without a pipeline."""
    if pp == 1:
        return 1
    return max(vp for vp in range(1, layers // pp + 1) if vp == 1 or -(-layers // (pp * vp)) * pp * vp <= MAX_IMBALANCE * layers)


def _powers(most: int) -> list[int]:
    return [2**n for n in range(most.bit_length()) if 2**n <= most]


def _cuts(work: Work, machine: Machine, num_devices: int, global_batch: int) -> Iterator[_Cut]:
    """Every cut with its time over that of an uncut step: the bubble, (p - 1) / (v·m); forward work done again; a little per halving."""
    for cp in (c for c in _powers(max(1, work.seq_len // LEAST_SEQUENCE)) if work.seq_len % c == 0):
        for pp in (p for p in range(1, min(work.layers, num_devices) + 1) if num_devices % (p * cp) == 0):
            for tp in (t for t in _powers(machine.domain) if work.heads % t == 0 and num_devices % (t * pp * cp) == 0):
                dp = num_devices // (tp * pp * cp)
                batch = max(1, round(global_batch / dp)) * dp
                moves = abs(batch / global_batch - 1) > ROUNDING
                bubble = (pp - 1) / (_finest(pp, work.layers) * (batch // dp))
                fields = {"tp": tp, "pp": pp, "cp": cp, "dp": dp, "sequence_parallel": tp > 1, "global_batch": batch}
                for ep in (x for x in _powers(work.experts) if work.experts % x == 0 and (tp * cp * dp) % x == 0):
                    halvings = (tp * cp).bit_length() - 1 + (int(ep / machine.domain) or 1).bit_length() - 1
                    for recompute, again in AGAIN.items():
                        loss = again * (1 + bubble) * (1 + SPLIT_LOSS * halvings)
                        for zero in STAGES if dp > 1 else STAGES[:1]:
                            yield _Cut(loss, moves, fields | {"ep": ep, "recompute": recompute, "zero": zero})


def _variants(layout: Layout, work: Work) -> Iterator[Layout]:
    """The cut itself, with its stages interleaved as finely as its layers nearly divide, and each with larger micro-batches."""
    for vp in {1, _finest(layout.pp, work.layers)}:
        for size in MICRO_BATCHES:
            passes, rest = divmod(layout.global_batch, layout.dp * size)
            if rest == 0 and (vp == 1 or passes % layout.pp == 0):  # interleaved stages take micro-batches in groups
                yield replace(layout, vp=vp, micro_batch=size)
