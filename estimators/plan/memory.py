"""What one device holds under a layout, for a search over thousands: states by ZeRO stage, activations, logits, a reserve."""

from __future__ import annotations

from estimators.step_time.lanes import Lane, choose, greater, smaller, up
from estimators.step_time.software import Software
from estimators.step_time.work import Work
from estimators.units import GIBI

STATE_BYTES = {"adamw": 12, "adamw-8bit": 6, "adafactor": 8, "muon": 8, "sgd": 8}
"""Per trained parameter: the fp32 weight (4) and the optimizer's state; AdamW keeps two fp32 moments, 8-bit AdamW two bytes."""

WEIGHT_BYTES = 2
GATHERED_LAYERS = 2
"""Layers whose whole weights a ZeRO-3 rank holds at a time: the one that runs and the one that is fetched."""

LOGIT_BYTES = 8
"""Per token and vocabulary entry: logits and their gradient in 16 bits, and one fp32 copy for the loss."""

RESERVE_BYTES = 2 * GIBI
"""CUDA context, communicators and workspaces: what an idle training process shows in nvidia-smi before its first step."""

FRAGMENTATION = 0.03
"""Share of what is allocated that the caching allocator cannot use."""


def memory_bytes(work: Work, layout: Lane, software: Software, *, optimizer: str = "adamw") -> Lane:
    """Bytes on the fullest device; fields of `layout` may be arrays.

    The first stage holds as many micro-batches as there are stages, the last one the logits: the fuller of both counts.

    Source: Rajbhandari et al. 2020, ZeRO (arXiv 1910.02054), section 3.1; Korthikanti et al. 2022 (arXiv 2205.05198), equations 1 to 4.
    """
    per_stage = up(work.layers / layout.pp) / work.layers
    dense, expert = work.dense_params / layout.tp * per_stage, work.expert_params / layout.ep * per_stage
    ends = (work.embedding_params + work.head_params) / layout.tp
    ends = choose(layout.pp > 1, greater(work.embedding_params, work.head_params) / layout.tp, ends)
    replicas, expert_replicas = layout.dp * layout.cp, greater(layout.tp * layout.cp * layout.dp / layout.ep, 1)
    shards = choose(layout.shard > 0, layout.shard * layout.cp, replicas)
    shared = dense + ends

    def params(sharded: Lane, over: Lane) -> Lane:
        """Parameters that the device holds of, where they are sharded over so many ranks."""
        return choose(sharded, shared / over + expert / smaller(expert_replicas, over), shared + expert)

    trained = work.trained_params / work.params
    held = WEIGHT_BYTES * params(layout.zero >= 3, shards)
    held = held + software.gradient_bytes * trained * params(layout.zero >= 2, shards)
    held = held + STATE_BYTES[optimizer] * trained * params(layout.zero >= 1, choose(layout.zero >= 2, shards, replicas))
    layer = (work.dense_params / layout.tp + work.expert_params / layout.ep) / work.layers
    held = held + choose(layout.zero >= 3, WEIGHT_BYTES * GATHERED_LAYERS * layer, 0.0)
    first, last = _activation_bytes(work, layout, software, per_stage)
    logits = LOGIT_BYTES * layout.micro_batch * work.seq_len / layout.cp * work.vocab / layout.tp
    return RESERVE_BYTES + (held + greater(first + choose(layout.pp > 1, 0.0, logits), last + logits)) * (1 + FRAGMENTATION)


def _activation_bytes(work: Work, layout: Lane, software: Software, per_stage: Lane) -> tuple[Lane, Lane]:
    """Of the first and the last stage: s·b·h·(10 + 24/t + 5·a·s/(h·t)) per layer and micro-batch, the first 10 over t as well under
    sequence parallelism, no scores where the kernel is fused or recomputes them, 2·s·b·h where the whole layer is recomputed."""
    tokens = layout.micro_batch * work.seq_len / layout.cp
    outer = choose(layout.sequence_parallel, layout.tp, 1)
    scores = 5 * work.score_elements / work.seq_len / work.layers / layout.tp * (1 if software.unfused else 0)
    routed = 1 + (work.experts_per_token - 1) * (24 - 8) / 34 * (work.routed_layers / work.layers)
    plain = tokens * work.width * (10 / outer + 24 / layout.tp) * routed
    light = tokens * work.width * (10 / outer + 16 / layout.tp) * routed if not software.unfused else plain
    whole = plain + tokens * scores
    kept = choose(layout.full, 2 * tokens * work.width / outer, choose(layout.selective, light, whole))
    working = choose(layout.full, whole, 0.0)
    micro = layout.global_batch / (layout.dp * layout.micro_batch)
    in_flight = smaller(layout.pp, micro) * choose(layout.vp > 1, 1 + (layout.pp - 1) / (layout.pp * layout.vp), 1.0)
    layers = work.layers * per_stage
    return kept * layers * in_flight + working, kept * layers + working
