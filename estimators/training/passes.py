"""Time of a device's own work for one micro-batch, forward and backward."""

from __future__ import annotations

from estimators.cost.array_math import Lane, choose, greater, up
from estimators.cost.compute import (
    fused_attention_s,
    grouped,
    matmul_flop_per_s,
    matmul_s,
    memory_bound_s,
    product_bytes_s,
    routing_bytes,
    unfused_attention_s,
)
from estimators.cost.efficiency import Efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine
from estimators.cost.software import Software
from estimators.cost.tensor_cut import outputs_on_rank
from estimators.frozen import frozen
from estimators.training.sequence_cost import Product, SequenceCost

BACKWARD_TRAFFIC = 1.5
"""Element-wise bytes backward over forward: the saved input is read beside the gradient (r+r+w over r+w)."""

FUSED_BACKWARD = 2.5
"""Attention products backward over forward where the scores are made anew: five matrix products against two."""

SCAN_WIDTH = 128
"""Depth of a scan's products, as a head's width: keys and states are 64 to 256 wide."""

UNFUSED_BACKWARD = 2
"""The same where the scores were kept: four against two."""

SCORE_BYTES = 2
"""Of one query-key pair and head that a plain product writes."""


@frozen
class Pass:
    """Seconds of one micro-batch through all layers, forward and backward, before any pipelining."""

    matmul: tuple[Lane, Lane]
    experts: tuple[Lane, Lane]
    attention: tuple[Lane, Lane]
    traffic: tuple[Lane, Lane]
    head: Lane


def _product_s(
    p: Product, m: Lane, n: Lane, k: Lane, flop_per_s: Lane, machine: Machine, e: Efficiency, slower: Lane = 1.0
) -> tuple[Lane, Lane]:
    def seconds(m: Lane, n: Lane, k: Lane) -> Lane:
        return greater(matmul_s(m, n, k, flop_per_s, machine.units, e) * slower, product_bytes_s(m, n, k, machine))

    backward: Lane = 0.0
    if p.passes_gradient:
        backward = seconds(m, k, n)
    if p.trained:
        backward = backward + seconds(k, n, greater(m, 1))
    return seconds(m, n, k), backward


def pass_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> Pass:
    """Seconds of one micro-batch on one device, were the device to hold all layers."""
    tokens = layout.micro_batch * work.seq_len / layout.cp
    rate, rate16 = (matmul_flop_per_s(machine, software, e, sixteen=sixteen) for sixteen in (False, True))
    outer = choose(layout.sequence_parallel, layout.tp, 1)
    matmul, experts, head = [0.0, 0.0], [0.0, 0.0], 0.0
    for p in work.products:
        if p.cut in ("expert_columns", "expert_rows"):
            rows = tokens / layout.tp * p.per_token * layout.ep / p.experts
            here = greater(p.experts / layout.ep, 1) * software.experts
            for i, seconds in enumerate(_product_s(p, rows, p.n, p.k, rate, machine, e, grouped(machine, e))):
                experts[i] = experts[i] + p.count * here * seconds
            continue
        m: Lane = p.m / work.seq_len * tokens
        n: Lane = p.n
        k: Lane = p.k
        if p.cut == "columns":
            n = outputs_on_rank(p.n, p.key_columns, p.key_heads, layout.tp)
        elif p.cut == "vocabulary":
            n = up(n / layout.tp)
        elif p.cut == "rows":
            k = k / layout.tp
        else:
            m = m / outer
        if p.cut == "vocabulary":
            head = head + sum(_product_s(p, m, n, k, rate16, machine, e))
            continue
        for i, seconds in enumerate(_product_s(p, m, n, k, rate, machine, e)):
            matmul[i] = matmul[i] + p.count * seconds
    return Pass(
        matmul=(matmul[0], matmul[1]),
        experts=(experts[0], experts[1]),
        attention=_attention_s(work, layout, machine, software, e),
        traffic=_traffic_s(work, layout, machine, software, e, tokens, outer),
        head=head + tokens * up(work.vocab / layout.tp) * software.loss_bytes / machine.memory_bytes_per_s,
    )


def holds_scores(work: SequenceCost, layout: Layout, machine: Machine) -> Lane:
    """Whether a device's memory has room for the scores of one layer that no fused kernel does; else one that writes none is taken."""
    per_layer = work.unfused_score_elements / greater(work.unfused_layers, 1)
    return layout.micro_batch / layout.cp / layout.tp * per_layer * SCORE_BYTES <= machine.memory_bytes


def _attention_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> tuple[Lane, Lane]:
    """Forward and backward, with the scans of recurrent layers: kernels that keep tiles on the chip as fused attention does, priced alike.

    What convolutions before a scan move is among the traffic.
    """
    forward, backward = _attention_alone_s(work, layout, machine, software, e)
    scans = fused_attention_s(layout.micro_batch * work.scan_flop, SCAN_WIDTH, machine, software, e)
    return forward + scans, backward + FUSED_BACKWARD * scans


def _attention_alone_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> tuple[Lane, Lane]:
    part = layout.micro_batch / layout.cp / layout.tp
    if software.unfused:
        flop, scores = part * work.attention_flop, part * work.score_elements
        forward = unfused_attention_s(flop, scores, work.head_width, machine, e)
        return forward, UNFUSED_BACKWARD * forward
    visible_flop = part * (work.attention_flop - work.masked_flop - work.unfused_visible_flop)
    fused = fused_attention_s(visible_flop, work.head_width, machine, software, e)
    plain = unfused_attention_s(part * work.unfused_flop, part * work.unfused_score_elements, work.head_width, machine, e)
    blocked = fused_attention_s(part * work.unfused_visible_flop, work.head_width, machine, software, e)
    held = holds_scores(work, layout, machine)
    return (
        fused + choose(held, plain, blocked),
        FUSED_BACKWARD * fused + choose(held, UNFUSED_BACKWARD * plain, FUSED_BACKWARD * blocked),
    )


def _traffic_s(
    work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency, tokens: Lane, outer: Lane
) -> tuple[Lane, Lane]:
    plain = (work.inner_bytes / layout.tp + work.outer_bytes / outer) * layout.micro_batch / layout.cp
    routed = routing_bytes(tokens / layout.tp * work.experts_per_token * work.width * 2, work.routed_layers, e) * software.experts
    forward = memory_bound_s(plain, routed, machine, software, e)
    return forward, BACKWARD_TRAFFIC * forward
