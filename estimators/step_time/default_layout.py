"""A layout where none was given: what fits and is cut as little as helps. Rules of thumb, no search by predicted time."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.errors import DoesNotFitError
from estimators.frozen import replace
from estimators.step_time.layout import Layout
from estimators.step_time.machine import Machine
from estimators.step_time.work import Work
from estimators.units import format_bytes

WEIGHT_BYTES, GRADIENT_BYTES = 2, 4
"""Of one parameter held: a 16-bit weight, a gradient summed in fp32."""

STATE_BYTES = {"adamw": 12, "adamw-8bit": 6, "adafactor": 4, "muon": 8, "sgd": 8}
"""Of one parameter's optimizer state: the fp32 weight, and two moments, two of a byte, next to none, one, one."""

SAVED_BYTES = {"none": 34, "selective": 34, "full": 2}
"""Activations that a layer saves per token and unit of width, scores not kept.

Source: Korthikanti et al. 2022 (arXiv 2205.05198), table 2, with sequence parallelism and fused attention; full saves its input.
"""

LOGIT_BYTES = 12
"""Per token and vocabulary entry at the loss: fp32 logits, their softmax and gradient."""

USABLE = 0.9
"""Share of a device's memory that a plan fills: context, communication buffers and fragmentation take the rest."""

MAX_MICRO_BATCH = 8

RECOMPUTED = 4 / 3
"""A step whose forward pass is run twice, over one where it is run once: backward costs two."""

SPLIT_LOSS = 0.04
"""What every doubling of tensor or context parallelism loses, as a rule of thumb for choosing; the prediction itself says more."""

LEAST_SEQUENCE = 4096
"""Tokens that context parallelism leaves a device at least."""


def needed_bytes(work: Work, layout: Layout, optimizer: str = "adamw") -> float:
    """Memory of the fullest device: weights, gradients, optimizer state, saved activations, logits."""
    local = (work.dense_params / layout.tp + work.expert_params / layout.ep) / layout.pp
    local += (work.embedding_params + work.head_params) / layout.tp
    replicas = layout.dp * layout.cp
    cut = (replicas if layout.zero >= 3 else 1, replicas if layout.zero >= 2 else 1, replicas if layout.zero >= 1 else 1)
    each = WEIGHT_BYTES / cut[0] + GRADIENT_BYTES / cut[1] + STATE_BYTES[optimizer] / cut[2]
    tokens = layout.micro_batch * work.seq_len / layout.cp
    layer = tokens * work.width / layout.tp
    in_flight = min(layout.pp, layout.num_micro_batches) / layout.pp
    saved = layer * work.layers * in_flight * SAVED_BYTES[layout.recompute]
    working = layer * SAVED_BYTES["none"] if layout.full else 0
    return local * each + saved + working + tokens * work.vocab / layout.tp * LOGIT_BYTES


def fits(work: Work, layout: Layout, machine: Machine, optimizer: str = "adamw") -> bool:
    """Whether the fullest device holds it, with the reserve left free."""
    return bool(needed_bytes(work, layout, optimizer) <= USABLE * machine.memory_bytes)


def default_layout(work: Work, machine: Machine, num_devices: int, global_batch: int, *, optimizer: str = "adamw") -> Layout:
    """The cut that fits and loses least to its bubble, to recomputation and to being cut, by rule of thumb; ZeRO-1.

    Sequence parallelism goes with tensor parallelism; without a pipeline the micro-batch grows to 8 where it fits. The batch
    becomes the nearest multiple of the replicas.

    Raises:
        DoesNotFitError: no such cut on so many devices; names the memory that the least one needs.
    """
    least, best, best_loss = float("inf"), None, float("inf")
    for layout in _cuts(work, machine, num_devices, global_batch):
        held = needed_bytes(work, layout, optimizer)
        least = min(least, held)
        if held <= USABLE * machine.memory_bytes and (loss := _loss(layout)) < best_loss:
            best, best_loss = layout, loss
    if best is not None:
        return _widened(work, best, machine, optimizer)
    raise DoesNotFitError(
        f"no layout of {num_devices:,} devices was found that holds the training: the least needs {format_bytes(least)} per device of "
        f"{format_bytes(machine.memory_bytes)}; give more --gpus, a shorter --seq-len, or a --layout of your own"
    )


def _loss(layout: Layout) -> float:
    """Time over that of an uncut step: the bubble of 1F1B, (p - 1) / m; a forward pass of three again; a little for every halving."""
    again = RECOMPUTED if layout.full else 1.0
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
                    yield from (replace(whole, ep=ep, recompute=mode) for mode in ("none", "full"))


def _widened(work: Work, layout: Layout, machine: Machine, optimizer: str) -> Layout:
    """Without a pipeline, the largest micro-batch that fits."""
    if layout.pp > 1:
        return layout
    sizes = [m for m in _powers(MAX_MICRO_BATCH) if layout.global_batch % (layout.dp * m) == 0]
    return max(
        (wider for m in sizes if fits(work, wider := replace(layout, micro_batch=m), machine, optimizer)), key=lambda w: w.micro_batch
    )
