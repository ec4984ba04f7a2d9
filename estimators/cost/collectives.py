"""Time of collectives: bytes that each device sends, over the slowest link on the way."""

from __future__ import annotations

from estimators.cost.array_math import Lane, choose, down, greater, log2, smaller
from estimators.cost.efficiency import Efficiency
from estimators.cost.machine import Machine


def bandwidth(machine: Machine, e: Efficiency, *, group: Lane, together: Lane) -> Lane:
    """Bytes per second and device that a collective over `group` devices reaches.

    Args:
        together: devices of the group behind one scale-up switch. Where the group spans several, the rings of a node share
            all its adapters, so that the network counts `together` times, but never for more than the scale-up link.
    """
    link = machine.link_bytes_per_s * e.link
    crossing = smaller(link, machine.network_bytes_per_s * e.network * greater(together, 1))
    return choose(group <= together, link, crossing)


def together(machine: Machine, *, stride: Lane, group: Lane) -> Lane:
    """Members of a group that one scale-up domain holds, where neighbours in the group are `stride` devices apart."""
    return smaller(greater(down(machine.domain / stride), 1), group)


def all_reduce_s(num_bytes: Lane, group: Lane, bytes_per_s: Lane, e: Efficiency) -> Lane:
    """Ring all-reduce, or an all-gather and a reduce-scatter: each device sends 2·(g - 1)/g of the bytes.

    Source: Thakur, Rabenseifner and Gropp 2005 (doi 10.1177/1094342005051521), section 4.
    """
    return choose(group > 1, 2 * (group - 1) / group * num_bytes / bytes_per_s + e.latency_s * log2(greater(group, 2)), 0.0)


LAYER_COLLECTIVES = 2
"""All-reduces that tensor parallelism needs per layer and direction: behind attention and behind the feed-forward."""


def tensor_parallel_s(num_bytes: Lane, layers: Lane, group: Lane, machine: Machine, e: Efficiency) -> Lane:
    """All-reduces of one pass through all layers in one direction, `num_bytes` each; ranks are neighbours."""
    near = together(machine, stride=1, group=group)
    return LAYER_COLLECTIVES * layers * all_reduce_s(num_bytes, group, bandwidth(machine, e, group=group, together=near), e)


def gather_s(num_bytes: Lane, group: Lane, bytes_per_s: Lane) -> Lane:
    """All-gather to, or reduce-scatter from, `num_bytes` on every device: (g - 1)/g of them are sent."""
    return (group - 1) / group * num_bytes / bytes_per_s


def all_to_all_s(num_bytes: Lane, copies: Lane, group: Lane, machine: Machine, e: Efficiency, *, most_nodes: Lane) -> Lane:
    """Tokens to their experts: `copies` of each within a node, and one per node and token between nodes.

    Args:
        most_nodes: that one token is sent to, whatever its copies.

    Source: DeepSeek-V3 (arXiv 2412.19437), section 3.2.2: a token crosses the network once per node that it is sent to.
    """
    nodes = greater(group / machine.domain, 1)
    inside = num_bytes * copies * (group - 1) / group / (machine.link_bytes_per_s * e.link)
    between = num_bytes * smaller(smaller(copies, most_nodes), nodes) * (1 - 1 / nodes) / (machine.network_bytes_per_s * e.network)
    return choose(group > 1, inside + between, 0.0)
