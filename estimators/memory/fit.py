"""Whether a step fits, by how much, and what to change where it does not."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.cost.array_math import Lane
from estimators.cost.divisibility import runs_sharded
from estimators.cost.layout import PLAN_RECOMPUTES, Layout
from estimators.cost.machine import Machine
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.memory.device import Memory, device_memory
from estimators.memory.layer_memory import ModelMemory
from estimators.units import format_bytes


def fits(memory: Memory, machine: Machine) -> Lane:
    """Bytes left on the device, reserve included; negative where the step does not fit."""
    return machine.memory_bytes - memory.total_bytes


def advice(
    model_memory: ModelMemory, layout: Layout, machine: Machine, *, gradient_bytes: float = 4, optimizer: str = "adamw"
) -> tuple[str, ...]:
    """What to change, in words, least disruptive first: each line is one change that makes the step fit, and the room it leaves.

    Without one that suffices by itself, the change that saves most, and what is then still missing. Empty where the step fits.
    """

    def room(changed: Layout) -> float:
        return float(fits(device_memory(model_memory, changed, gradient_bytes=gradient_bytes, optimizer=optimizer), machine))

    before = room(layout)
    if before >= 0:
        return ()
    tried = [(text, room(changed)) for text, changed in _changes(model_memory, layout)]
    enough = tuple(f"{text}: leaves {format_bytes(left)} of room" for text, left in tried if left >= 0)
    if enough:
        return enough
    text, left = max(tried, key=lambda pair: pair[1], default=("more memory per device is needed", before))
    return (f"no single change makes it fit; the best is to {text}, which still lacks {format_bytes(-left)}",)


def _changes(model_memory: ModelMemory, layout: Layout) -> Iterator[tuple[str, Layout]]:
    """Single changes on the same devices."""
    work = model_memory.work
    for zero in range(layout.zero + 1, 4):
        if layout.dp * layout.cp > 1 and runs_sharded(zero, layout.pp):
            yield f"share out more between replicas (zero={zero})", replace(layout, zero=zero)
    if layout.micro_batch > 1:
        yield f"halve the micro-batch (micro_batch={layout.micro_batch // 2})", _as_legal(layout, micro_batch=layout.micro_batch // 2)
    if layout.tp > 1 and not layout.sequence_parallel:
        yield "share the norms' tokens between tensor-parallel ranks (sp=1)", replace(layout, sequence_parallel=True)
    for mode in PLAN_RECOMPUTES[PLAN_RECOMPUTES.index(layout.recompute) + 1 :]:
        yield f"recompute (recompute={mode})", replace(layout, recompute=mode)
    if layout.dp % 2 == 0:
        if work.heads % (2 * layout.tp) == 0:
            yield (
                f"cut matrices over more devices (tp={2 * layout.tp}, dp={layout.dp // 2})",
                _as_legal(layout, tp=2 * layout.tp, dp=layout.dp // 2, shard=0),
            )
        if 2 * layout.pp * layout.vp <= work.layers and runs_sharded(layout.zero, 2 * layout.pp):
            yield (
                f"cut layers over more stages (pp={2 * layout.pp}, dp={layout.dp // 2})",
                _as_legal(layout, pp=2 * layout.pp, dp=layout.dp // 2, shard=0),
            )


def _as_legal(layout: Layout, **changes: int) -> Layout:
    try:
        return replace(layout, **changes)
    except BadValueError:  # a batch that no longer divides: the step's memory is that of the batch rounded down
        unit = changes.get("dp", layout.dp) * changes.get("micro_batch", layout.micro_batch)
        return replace(layout, **changes, global_batch=max(unit, layout.global_batch // unit * unit))
