"""Step time from what a row prints in its place: tokens or samples per second, a FLOP rate or a utilization by its own convention."""

from __future__ import annotations

import re

from estimators.cost.layout import Layout
from estimators.spec import Hardware, Model
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.units import TERA
from estimators.validation.groups import Group
from estimators.validation.table import Record


def seconds_from_rate(
    record: Record, group: Group, model: Model, layout: Layout, seq_len: int, hardware: Hardware, dtype: str
) -> tuple[float | None, str]:
    """Seconds of a step from the rate that the row has, and what was assumed of it; None where it has none."""
    tokens_per_s = record.number("tokens_per_s_per_gpu")
    tokens_per_s = tokens_per_s * layout.num_devices if tokens_per_s else record.number("tokens_per_s_total")
    if tokens_per_s:
        return layout.global_batch * seq_len / tokens_per_s, ""
    if samples_per_s := record.number("samples_per_s"):
        return layout.global_batch / samples_per_s, ""
    rate, share = record.number("tflops_per_gpu"), record.number("mfu_pct")
    peak = hardware.peak_flop_per_s.get(dtype)
    flop_per_s = rate * TERA if rate else share / 100 * peak if share and peak else None
    if not flop_per_s:
        return None, ""
    flop, assumed = flop_of_sequence(sequence_cost_of(model, seq_len), record.text("flops_convention"), group, layout)
    return flop * layout.global_batch / (flop_per_s * layout.num_devices), assumed


def flop_of_sequence(work: SequenceCost, convention: str, group: Group, layout: Layout) -> tuple[float, str]:
    """FLOP of one sequence's step as the row's convention counts them, and what was assumed of it.

    Hardware FLOP count a forward pass once more in the layers; `causal` counts half of the attention square, unless it is denied.
    """
    said = convention.casefold()
    causal = bool(re.search(r"(?<!not )causal", said))
    forward, head = work.forward_flop(causal=causal), _head_flop(work)
    again = "hardware" in said or "with recompute" in said or group.stack == "megatron-2021"
    if "hardware flops (x4) when checkpointing" in said:
        again = layout.full
    weights = re.match(r"(\d)\*2\*n\*tokens", said)
    if weights:
        return int(weights.group(1)) * sum(2 * p.m * p.n * p.k * p.count for p in work.products), ""
    assumed = "" if convention or group.stack == "megatron-2021" else "flops_convention=model FLOP, attention's full square"
    if re.search(r"\b6\s?\*?\s?nt?\b", said) and "6(n-vh)" not in said.replace(" ", "") and work.head_params:
        return 3 * forward + 6 * work.seq_len * work.embedding_params, assumed
    return (4 * (forward - head) + 3 * head if again else 3 * forward), assumed


def _head_flop(work: SequenceCost) -> int:
    return sum(2 * p.m * p.n * p.k for p in work.products if p.cut == "vocabulary")
