"""Time of a device's own work: matrix products by shape, attention by kernel, memory-bound work by bytes, launches by number."""

from __future__ import annotations

from estimators.cost.array_math import Lane, choose, greater
from estimators.cost.efficiency import Efficiency
from estimators.cost.machine import Machine
from estimators.cost.software import Software

TILE_SIDE = 128
"""Outputs that one multiprocessor makes at a time are a square of this side: the tile of cuBLAS's usual half-precision kernels."""

TENSOR_LAUNCHES = 6
"""Operations that tensor parallelism adds to a layer's forward pass: collectives, and what packs and unpacks for them. Assumed."""

HOST_SHARPNESS = 8
"""How sharply a step goes from device-bound to host-bound: the greater of the two, a little rounded."""


def matmul_s(m: Lane, n: Lane, k: Lane, flop_per_s: Lane, units: Lane, e: Efficiency, *, tile_rows: Lane = TILE_SIDE) -> Lane:
    """(m x k) times (k x n): 2·m·n·k over the rate, longer where tiles fill no whole wave and where k is shallow.

    Args:
        tile_rows: height of a tile. Kernels for a few rows have lower ones.
    """
    tile = tile_rows * TILE_SIDE
    return 2 * m * n * k / flop_per_s * (1 + e.tile_tail * units * tile / greater(m * n, 1)) * (1 + e.depth / k)


def grouped(machine: Machine, e: Efficiency) -> Lane:
    """Factor on the time of products that a kernel makes for several experts at once."""
    return e.experts * (e.experts_low if machine.low else 1.0)


def attention_s(
    flop: Lane, visible_flop: Lane, score_elements: Lane, head_width: Lane, machine: Machine, software: Software, e: Efficiency
) -> Lane:
    """The two products of attention and the softmax between, forward.

    Args:
        flop, visible_flop: of both products; what the mask lets through of it, which a fused kernel does alone.
        score_elements: query-key pairs times heads, which an unfused kernel writes and reads.
        head_width: of one query.
    """
    if software.unfused:
        slower = choose(head_width % 8 > 0, 1 + e.odd_head, 1.0)
        products = flop / (machine.flop16_per_s * e.unfused_matmul) * slower
        return products + score_elements * 2 * e.unfused_passes / machine.memory_bytes_per_s
    width = (head_width + e.head_half) / (128 + e.head_half)
    share = software.attention * choose(head_width < 128, width, 1.0)
    return visible_flop / (machine.flop16_per_s * share)


def routing_bytes(token_bytes: Lane, layers: Lane, e: Efficiency) -> Lane:
    """What is written and read around the experts of `layers`, from the bytes of all tokens, one copy for each of their experts."""
    return token_bytes * e.routing_passes * layers


def memory_bound_s(num_bytes: Lane, routed_bytes: Lane, machine: Machine, software: Software, e: Efficiency) -> Lane:
    """Norms, activations and other element-wise work: the bytes that are moved for it.

    Args:
        num_bytes: inputs and outputs, were nothing fused; the software says how often it moves them.
        routed_bytes: see `routing_bytes`.
    """
    moved = num_bytes * software.traffic + routed_bytes
    return moved * (1 + e.quantise if machine.low else 1.0) / machine.memory_bytes_per_s


def operations(layers: Lane, routed_layers: Lane, tensor_parallel: Lane, software: Software) -> Lane:
    """Operations that one forward pass issues; a layer with experts issues twice as many."""
    return (software.launches_per_layer * (1 + routed_layers / layers) + choose(tensor_parallel > 1, TENSOR_LAUNCHES, 0)) * layers


def issued_s(device_s: Lane, host_s: Lane) -> Lane:
    """Work of `device_s` that a host takes `host_s` to issue: the greater of the two, a little more where they are near."""
    return (device_s**HOST_SHARPNESS + host_s**HOST_SHARPNESS) ** (1 / HOST_SHARPNESS)
