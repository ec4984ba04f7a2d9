"""Time of a device's own work: matrix products by shape, attention by kernel, memory-bound work by bytes, launches by number."""

from __future__ import annotations

from estimators.cost.array_math import Lane, choose, greater
from estimators.cost.collectives import LAYER_COLLECTIVES
from estimators.cost.efficiency import Efficiency
from estimators.cost.machine import Machine
from estimators.cost.software import Software

TILE_SIDE = 128
"""Outputs that one multiprocessor makes at a time are a square of this side: the tile of cuBLAS's usual half-precision kernels."""

OPERAND_BYTES, LOW_OPERAND_BYTES = 2, 1
"""Of an element of a product in 16 bits, and below."""

ROUTED_LAUNCHES = 3.5
"""Operations of a layer with experts over those of one without: router, scores, the choice and its loss; sort, permute, dispatch, the
grouped products and their activation, combine, back into order. Counted in Megatron-Core's MoELayer."""

TENSOR_LAUNCHES = 6
"""Operations that tensor parallelism adds to a layer's forward pass: collectives, and what packs and unpacks for them. Assumed."""

SOCKET_DEVICES = 4
"""Devices of one socket of a host with eight."""

HOST_SHARPNESS = 8
"""How sharply a step goes from device-bound to host-bound: the greater of the two, a little rounded."""


def matmul_s(m: Lane, n: Lane, k: Lane, flop_per_s: Lane, units: Lane, e: Efficiency, *, tile_rows: Lane = TILE_SIDE) -> Lane:
    """(m x k) times (k x n): 2·m·n·k over the rate, longer where tiles fill no whole wave and where k is shallow.

    Args:
        tile_rows: height of a tile. Kernels for a few rows have lower ones.
    """
    tile = tile_rows * TILE_SIDE
    return 2 * m * n * k / flop_per_s * (1 + e.tile_tail * units * tile / greater(m * n, 1)) * (1 + e.depth / k)


def matmul_flop_per_s(machine: Machine, software: Software, e: Efficiency, *, sixteen: bool = False) -> Lane:
    """What large products reach inside a step, in the dtype of the step's products or in 16 bits."""
    if sixteen and machine.low:
        return machine.flop16_per_s * e.matmul
    return machine.flop_per_s * e.matmul / (e.low_matmul * software.low_products if machine.low else 1.0)


def product_bytes_s(m: Lane, n: Lane, k: Lane, machine: Machine) -> Lane:
    """The least that (m x k) times (k x n) takes for its operands and its result: a few rows cost the reading of the whole matrix."""
    operand = LOW_OPERAND_BYTES if machine.low else OPERAND_BYTES
    return (operand * (m * k + k * n) + OPERAND_BYTES * m * n) / machine.memory_bytes_per_s


def grouped(machine: Machine, e: Efficiency) -> Lane:
    """Factor on the time of products that a kernel makes for several experts at once."""
    return e.experts * (e.experts_low if machine.low else 1.0)


def fused_attention_s(visible_flop: Lane, head_width: Lane, machine: Machine, software: Software, e: Efficiency) -> Lane:
    """The two products of attention and the softmax between, forward, by a kernel that never writes the scores.

    Args:
        visible_flop: of both products, what the mask lets through, which such a kernel does alone.
        head_width: of one query.
    """
    width = (head_width + e.head_half) / (128 + e.head_half)
    share = software.attention * choose(head_width < 128, width, 1.0)
    return visible_flop / (machine.flop16_per_s * share)


def unfused_attention_s(flop: Lane, score_elements: Lane, head_width: Lane, machine: Machine, e: Efficiency) -> Lane:
    """The same by two batched products with the scores written between them; what the mask hides is computed as well.

    Args:
        flop: of both products.
        score_elements: query-key pairs times heads, which are written and read.
    """
    slower = choose(head_width % 8 > 0, 1 + e.odd_head, 1.0)
    products = flop / (machine.flop16_per_s * e.unfused_matmul) * slower
    return products + score_elements * 2 * e.unfused_passes / machine.memory_bytes_per_s


def attention_s(
    flop: Lane, visible_flop: Lane, score_elements: Lane, head_width: Lane, machine: Machine, software: Software, e: Efficiency
) -> Lane:
    """Attention by the software's own kernel, whichever it is."""
    if software.unfused:
        return unfused_attention_s(flop, score_elements, head_width, machine, e)
    return fused_attention_s(visible_flop, head_width, machine, software, e)


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


def operations(layers: Lane, routed_layers: Lane, tensor_parallel: Lane, per_layer: float) -> Lane:
    """Operations that one forward pass issues, where a layer without experts and undivided has `per_layer`; one with experts has more."""
    return (per_layer * (1 + (ROUTED_LAUNCHES - 1) * routed_layers / layers) + choose(tensor_parallel > 1, TENSOR_LAUNCHES, 0)) * layers


def host_s(ops: Lane, layers: Lane, tensor_parallel: Lane, software: Software, e: Efficiency) -> Lane:
    """What the host takes to issue the `ops` of one forward pass; nothing where the device replays recorded graphs.

    Every collective waits for the slowest of the group's hosts, which shows where they run on several sockets.
    """
    if software.graphs:
        return 0.0
    waits = choose(tensor_parallel > SOCKET_DEVICES, LAYER_COLLECTIVES * layers, 0)
    return ops * e.host_op_s + waits * e.sync_s


def issued_s(device_s: Lane, host_s: Lane) -> Lane:
    """Work of `device_s` that a host takes `host_s` to issue: the greater of the two, a little more where they are near."""
    return (device_s**HOST_SHARPNESS + host_s**HOST_SHARPNESS) ** (1 / HOST_SHARPNESS)
