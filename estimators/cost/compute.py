"""Time of a device's own work for one micro-batch: matrix products by shape, attention by kernel, memory traffic by bytes."""

from __future__ import annotations

from estimators.cost.array_math import Lane, choose, greater
from estimators.cost.efficiency import Efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine
from estimators.cost.software import Software
from estimators.frozen import frozen
from estimators.training.sequence_cost import Product, Work

TILE = 128 * 128
"""Outputs that one multiprocessor makes at a time: the tile of cuBLAS's usual half-precision kernels."""

BACKWARD_TRAFFIC = 1.5
"""Element-wise bytes backward over forward: the saved input is read beside the gradient (r+r+w over r+w)."""

FUSED_BACKWARD = 2.5
"""Attention products backward over forward where the scores are made anew: five matrix products against two."""

LOSS_BYTES = 14
"""Bytes per token and vocabulary entry that logits and loss move: 16-bit logits written (2), read in fp32 for the maximum and the
sum (4 + 4), their 16-bit gradient written and read (2 + 2)."""


@frozen
class Pass:
    """Seconds of one micro-batch through all layers, forward and backward, before any pipelining."""

    matmul: tuple[Lane, Lane]
    experts: tuple[Lane, Lane]
    attention: tuple[Lane, Lane]
    traffic: tuple[Lane, Lane]
    head: Lane


def matmul_s(m: Lane, n: Lane, k: Lane, flop_per_s: Lane, units: Lane, e: Efficiency) -> Lane:
    """(m x k) times (k x n): 2·m·n·k over the rate, longer where tiles fill no whole wave and where k is shallow."""
    return 2 * m * n * k / flop_per_s * (1 + e.tile_tail * units * TILE / greater(m * n, 1)) * (1 + e.depth / k)


def _product_s(p: Product, m: Lane, n: Lane, k: Lane, flop_per_s: Lane, machine: Machine, e: Efficiency) -> tuple[Lane, Lane]:
    forward = matmul_s(m, n, k, flop_per_s, machine.units, e)
    backward: Lane = 0.0
    if p.passes_gradient:
        backward = matmul_s(m, k, n, flop_per_s, machine.units, e)
    if p.trained:
        backward = backward + matmul_s(k, n, greater(m, 1), flop_per_s, machine.units, e)
    return forward, backward


def pass_s(work: Work, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> Pass:
    """Seconds of one micro-batch on one device, were the device to hold all layers."""
    tokens = layout.micro_batch * work.seq_len / layout.cp
    rate, rate16 = machine.flop_per_s * e.matmul, machine.flop16_per_s * e.matmul
    outer = choose(layout.sequence_parallel, layout.tp, 1)
    matmul, experts, head = [0.0, 0.0], [0.0, 0.0], 0.0
    for p in work.products:
        if p.cut in ("expert_columns", "expert_rows"):
            rows = tokens / layout.tp * p.per_token * layout.ep / p.experts
            slower = e.experts * (e.experts_low if machine.low else 1.0) * greater(p.experts / layout.ep, 1)
            for i, seconds in enumerate(_product_s(p, rows, p.n, p.k, rate, machine, e)):
                experts[i] = experts[i] + p.count * slower * seconds
            continue
        m: Lane = p.m / work.seq_len * tokens
        n: Lane = p.n
        k: Lane = p.k
        if p.cut in ("columns", "vocabulary"):
            n = n / layout.tp
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
        head=head + tokens * work.vocab / layout.tp * LOSS_BYTES / machine.memory_bytes_per_s,
    )


def _attention_s(work: Work, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> tuple[Lane, Lane]:
    part = layout.micro_batch / layout.cp / layout.tp
    if software.unfused:
        slower = choose(work.head_width % 8 > 0, 1 + e.odd_head, 1.0)
        products = part * work.attention_flop / (machine.flop16_per_s * e.unfused_matmul) * slower
        forward = products + part * work.score_elements * 2 * e.unfused_passes / machine.memory_bytes_per_s
        return forward, 2 * forward
    width = (work.head_width + e.head_half) / (128 + e.head_half)
    share = software.attention * choose(work.head_width < 128, width, 1.0)
    forward = part * (work.attention_flop - work.masked_flop) / (machine.flop16_per_s * share)
    return forward, FUSED_BACKWARD * forward


def _traffic_s(
    work: Work, layout: Layout, machine: Machine, software: Software, e: Efficiency, tokens: Lane, outer: Lane
) -> tuple[Lane, Lane]:
    plain = (work.inner_bytes / layout.tp + work.outer_bytes / outer) * layout.micro_batch / layout.cp * software.traffic
    routed = tokens / layout.tp * work.experts_per_token * work.width * 2 * e.routing_passes * work.routed_layers
    forward = (plain + routed) * (1 + e.quantise if machine.low else 1.0) / machine.memory_bytes_per_s
    return forward, BACKWARD_TRAFFIC * forward
