"""The few physical constants of the cost model: one data file, each with its prior, its fitted value and its range."""

from __future__ import annotations

import functools
from typing import Any

from estimators.cost.array_math import Lane
from estimators.facts import data
from estimators.facts.fitted import fitted_values
from estimators.frozen import frozen


@frozen
class Efficiency:
    """Constants of the cost model; `data/efficiency.json` says where each comes from.

    Attributes:
        matmul: share of the measured matmul ceiling that large products reach inside a step.
        tile_tail: share of a wave of tiles that the last, partly filled wave wastes.
        depth: products as deep as this lose half their time to filling and draining the pipeline; elements.
        low_matmul: factor on the time of products below 16 bits: operands are cast, scaled and transposed for them.
        attention_triton_ampere, attention_triton_hopper, attention_flash2_ampere, attention_flash2_hopper, attention_fused,
            attention_blackwell, attention_ultra: shares of the bf16 ceiling that attention kernels reach on the pairs that the mask lets
            through; head width 128.
        head_half: head width at which a fused kernel would reach half of what a very wide one does.
        unfused_matmul, unfused_passes: an unfused kernel's share of the ceiling, and its passes over the scores.
        odd_head: factor on unfused products where the head width is not a multiple of 8.
        traffic_classic, traffic_eager, traffic_compiled, traffic_fused: element-wise bytes moved over those of the op table, by
            software.
        dynamic, rowwise: factors on the time of products below 16 bits whose operands are scaled by a pass of their own.
        quantise: share added to element-wise traffic where products run below 16 bits.
        routing_passes: times that the routed tokens are written or read around the experts.
        experts, experts_low: factors on the time of grouped products, and once more below 16 bits.
        experts_old, experts_new: factors on all that experts take in the releases before and after those that the others fit.
        host_op_s, launch_s: what the host takes to issue one operation, and the device to start one.
        sync_s: what the host waits for the others at a collective of more devices than one of its sockets has.
        link, network: shares of the nominal scale-up and scale-out bandwidth that collectives reach.
        latency_s: of one collective, per doubling of the group.
        tensor_exposed, expert_exposed, context_exposed, pipeline_exposed, interleaved_exposed, data_exposed, shard_exposed:
            shares of that communication that do not overlap with compute, where the software overlaps at all.
        accumulate_exposed: share of the traffic of adding gradients that a fused weight-gradient product does not hide.
        overlap_power: how sharply a sharded step goes from compute-bound to communication-bound.
        step_s: fixed cost of a step: data, clipping, logging.
        straggle: share that each doubling of the devices beyond one node adds.
    """

    matmul: Lane
    tile_tail: Lane
    depth: Lane
    low_matmul: Lane
    attention_triton_ampere: Lane
    attention_triton_hopper: Lane
    attention_fused: Lane
    attention_blackwell: Lane
    attention_ultra: Lane
    attention_flash2_ampere: Lane
    attention_flash2_hopper: Lane
    head_half: Lane
    unfused_matmul: Lane
    unfused_passes: Lane
    odd_head: Lane
    traffic_classic: Lane
    traffic_eager: Lane
    traffic_compiled: Lane
    traffic_fused: Lane
    quantise: Lane
    dynamic: Lane
    rowwise: Lane
    routing_passes: Lane
    experts: Lane
    experts_low: Lane
    experts_old: Lane
    experts_new: Lane
    host_op_s: Lane
    launch_s: Lane
    sync_s: Lane
    link: Lane
    network: Lane
    latency_s: Lane
    tensor_exposed: Lane
    expert_exposed: Lane
    context_exposed: Lane
    pipeline_exposed: Lane
    interleaved_exposed: Lane
    accumulate_exposed: Lane
    data_exposed: Lane
    shard_exposed: Lane
    overlap_power: Lane
    step_s: Lane
    straggle: Lane


@functools.cache
def efficiency_file() -> dict[str, Any]:
    """The whole data file: constants with priors and ranges, and the fits without each source."""
    return data.read_json(data.file("efficiency.json"))


@functools.cache
def efficiency(without: str = "") -> Efficiency:
    """The constants as fitted on all measured rows, or on all but one source's.

    Raises:
        BadValueError: no fit without that source is in the file.
    """
    return Efficiency(**fitted_values(efficiency_file(), without))
