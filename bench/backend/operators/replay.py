"""Single operators repeated on real tensors: what each shape takes on this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map_only

from bench.backend.device import Device
from bench.backend.operators.operator import Spec
from bench.backend.operators.trace import Call
from bench.backend.random_data import drawn
from bench.sampling.clock import Clock
from bench.sampling.timing_loop import no_collection
from estimators.units import GIBI

LEAST_SAMPLE_S = 2e-4
"""Calls shorter than this are repeated within one sample: a clock's own cost must not show."""
MOST_COPIES = 64
SLOW_S = 0.1
"""Operators slower than this are timed once a round: their noise is small beside their time."""


KEPT_BYTES = GIBI
"""Results that outlive their step are held until they are so many, then freed together, as gradients are."""


@dataclass(slots=True)
class _Kept:
    """Results held, on a device where fresh memory costs time; elsewhere none."""

    room_bytes: int
    held: list[Any] = field(default_factory=list)
    num_bytes: int = 0

    def make_room(self) -> None:
        """Free all when they are too many: outside of a timed region."""
        self.num_bytes = sum(t.numel() * t.element_size() for t in tree_flatten(self.held)[0] if isinstance(t, torch.Tensor))
        if self.num_bytes > self.room_bytes:
            self.held.clear()


@dataclass(slots=True)
class Replay:
    """One operator's samples so far, in seconds per call."""

    call: Call
    samples_s: list[float] = field(default_factory=list)
    reason: str = ""


def replay(
    calls: Sequence[Call], device: Device, *, cache_bytes: int, rounds: int, time_s: float, clock: Clock | None = None
) -> list[Replay]:
    """Time each operator on its own, in several rounds over all of them, so that a busy moment does not fall on one alone.

    Args:
        cache_bytes: cold arguments are taken from so many copies that twice the caches would not hold them.
        rounds: how often each has its turn.
        time_s: for one operator in one round.
        clock: the device's unless given.
    """
    replays = [Replay(call) for call in calls]
    clock = clock or device.clock()
    kept = _room_for_kept(device) if device.kind == "cpu" and any(call.kept for call in calls) else None
    with torch.no_grad(), no_collection():
        for turn in range(rounds):
            for replayed in replays if turn % 2 == 0 else reversed(replays):
                if not replayed.reason:
                    _take(replayed, device, clock, cache_bytes, time_s, kept)
    return replays


def _room_for_kept(device: Device) -> _Kept:
    """Room that was touched once: a virtual machine's host gives it pages at their very first touch alone, which takes longer still."""
    room = min(KEPT_BYTES, device.memory_available_bytes() // 4)
    torch.empty(room, dtype=torch.uint8).fill_(1)
    return _Kept(room)


def _take(replayed: Replay, device: Device, clock: Clock, cache_bytes: int, time_s: float, kept: _Kept | None) -> None:
    call = replayed.call
    copies = 1
    if call.piece.cold_bytes:
        room = device.memory_available_bytes() // 4
        copies = max(1, min(MOST_COPIES, math.ceil(2 * cache_bytes / call.piece.cold_bytes), room // call.piece.cold_bytes))
    try:
        sets = _arguments(call, copies, device)
        operator = call.operator
        operator(*sets[0][0], **sets[0][1])
        once_s = max(1e-7, clock.time(lambda: operator(*sets[-1][0], **sets[-1][1])))
    except Exception as error:  # an operator may refuse drawn arguments in any way; a curve stands in, and the record says so
        replayed.reason = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
        return
    calls = max(1, math.ceil(LEAST_SAMPLE_S / once_s))
    start, at = clock.now(), 0
    held = kept.held if kept is not None and call.kept else None

    def several() -> None:
        nonlocal at
        for _ in range(calls):
            args, kwargs = sets[at % copies]
            result = operator(*args, **kwargs)
            at += 1
            if held is not None:
                held.append(result)

    num_samples, least = 0, 3 if once_s < SLOW_S else 1
    while num_samples < least or clock.now() - start < time_s:
        replayed.samples_s.append(clock.time(several) / calls)
        num_samples += 1
        if kept is not None and held:
            kept.make_room()


def _arguments(call: Call, copies: int, device: Device) -> list[tuple[Any, Any]]:
    """Argument sets that differ in their cold tensors and share the rest."""
    shared: dict[int, torch.Tensor] = {}
    bound = _index_bound(call)
    sets = []
    for _ in range(copies):
        position = 0

        def real(spec: Spec) -> torch.Tensor:
            nonlocal position
            position += 1
            if spec.cold:
                return _tensor(spec, device, bound)
            if position not in shared:
                shared[position] = _tensor(spec, device, bound)
            return shared[position]

        sets.append(tree_map_only(Spec, real, (call.args, call.kwargs)))
    return sets


def _index_bound(call: Call) -> int:
    """Indices stay below the smallest first or last side of what they may point into; classes of a loss over images, below the second.

    A kernel does not always check: a class beyond the last one is written behind the gradient's end.
    """
    wide = [spec for spec in _specs(call) if spec.dtype.is_floating_point and spec.shape]
    sides = [spec.shape[0] if "embedding" in call.piece.kind or call.piece.kind == "index" else spec.shape[-1] for spec in wide]
    if "nll_loss2d" in str(call.operator):
        sides = [spec.shape[1] for spec in wide if len(spec.shape) == 4]
    numbers = [a for a in call.args if isinstance(a, int) and not isinstance(a, bool) and a > 1]
    return max(1, min(sides + numbers, default=1))


def _specs(call: Call) -> list[Spec]:
    return [leaf for leaf in tree_flatten((call.args, call.kwargs))[0] if isinstance(leaf, Spec)]


def _tensor(spec: Spec, device: Device, bound: int) -> torch.Tensor:
    place = device.torch_device
    room = 1 + sum((size - 1) * stride for size, stride in zip(spec.shape, spec.strides, strict=True) if size > 0)
    if spec.dtype.is_floating_point:
        flat = drawn(room, dtype=spec.dtype, device=place)
    elif spec.dtype == torch.bool:
        flat = torch.ones(room, dtype=torch.bool, device=place)
    else:
        flat = torch.randint(0, bound, (room,), dtype=spec.dtype, device=place)
    # memory of its own: torch multiplies by a view in another way than by a parameter, 20 times slower for one row in bf16
    tensor = torch.empty_strided(spec.shape, spec.strides, dtype=spec.dtype, device=place)
    if tensor.numel():  # as one flat piece: torch refuses to write element by element where several share their memory
        tensor.as_strided((room,), (1,)).copy_(flat)
    return tensor.requires_grad_(spec.trained)
