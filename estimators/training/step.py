"""step_time: where the seconds of one training step go. The named parts are the answer; they sum to the step."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.cost.array_math import Lane, choose, greater, log2, smaller, up
from estimators.cost.collectives import all_to_all_s, bandwidth, gather_s, tensor_parallel_s, together
from estimators.cost.compute import host_s, issued_s, operations
from estimators.cost.efficiency import Efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine
from estimators.cost.software import Software
from estimators.frozen import field, frozen
from estimators.training.passes import BACKWARD_TRAFFIC, Pass, pass_s
from estimators.training.sequence_cost import SequenceCost

PARTS = {
    "matmul": "matrix products",
    "experts": "matrix products of the experts",
    "attention": "attention products and softmax",
    "traffic": "norms, activations and other memory-bound work",
    "adapters": "casts, scaling and sums beside adapters",
    "head": "head and loss",
    "recompute": "forward work done twice",
    "dequantise": "16-bit weights made of those stored in fewer bits",
    "accumulate": "adding gradients of micro-batches",
    "launch": "kernel launches, and waiting for the host",
    "tensor_comm": "tensor-parallel communication, exposed",
    "expert_comm": "tokens to their experts and back, exposed",
    "context_comm": "keys and values around the context-parallel ring, exposed",
    "pipeline_comm": "activations between stages, exposed",
    "bubble": "pipeline bubble",
    "imbalance": "waiting for the stage with the most layers",
    "data_comm": "gradients and sharded weights between replicas, exposed",
    "optimizer": "optimizer step",
    "step": "fixed cost of a step",
    "straggle": "stragglers",
}
"""What a step consists of, in the order of the ledger."""

TUNING_PARTS = PARTS | {
    "reference": "forward passes of the reference model",
    "offload": "what lies on the host, moved or updated there, exposed",
}
"""What a step of fine-tuning consists of."""

OPTIMIZER_BYTES = {"adamw": 28, "adamw-8bit": 16, "adafactor": 14, "muon": 20, "sgd": 12, "sgd-momentum": 20}
"""Bytes per trained parameter that the update reads and writes: fp32 weight (8) and gradient (4), and the state twice."""

RAMP_BACKWARD = 1.5
"""Kernel starts of a backward pass over those of a forward pass."""

ZERO_BUBBLE_SHARE = 1 / 3
"""Of the bubble, what a zero-bubble schedule leaves: only the input gradients stay on the critical path.

Source: Qi et al. 2023, Zero Bubble Pipeline Parallelism (arXiv 2401.10241), table 1.
"""


@frozen
class Ledger:
    """Seconds of one step by part, on the slowest rank. Every part is at least 0."""

    parts: Mapping[str, Lane] = field(hash=False)

    @property
    def step_time_s(self) -> Lane:
        """The whole step: the sum of its parts."""
        return sum(self.parts.values())


def step_time(
    work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency, *, optimizer: str = "adamw"
) -> Ledger:
    """The ledger of one training step.

    step = micro-batches · stage + bubble + exposed communication of the replicas + optimizer + fixed cost, stragglers on top.

    Args:
        work: one sequence's work, read off the op table.
        layout: how it is cut; its fields may be arrays, all of one length.
    """
    layer_pass = pass_s(work, layout, machine, software, e)
    tensor, expert, context = _layer_comm(work, layout, machine, software, e, layer_pass)
    full = choose(layout.full, 1, 0)
    beside = work.adapters * software.adapter_launches
    ops, kernels = (
        operations(work.layers, work.routed_layers, layout.tp, each) + beside
        for each in (software.launches_per_layer, software.kernels_per_layer)
    )
    adapters = _adapters_s(work, layout, machine, software)
    forward = layer_pass.matmul[0] + layer_pass.experts[0] + layer_pass.attention[0] + layer_pass.traffic[0] + adapters
    again = full * (forward + tensor + expert + context)
    again = again + choose(layout.selective, 1, 0) * _selective_s(layer_pass, software)
    layers = {
        "matmul": sum(layer_pass.matmul),
        "experts": sum(layer_pass.experts),
        "attention": sum(layer_pass.attention),
        "traffic": sum(layer_pass.traffic),
        "adapters": adapters * (1 + BACKWARD_TRAFFIC),
        "recompute": again,
        "tensor_comm": 2 * tensor,
        "expert_comm": 2 * expert,
        "context_comm": 3 * context,
        "launch": kernels * e.launch_s * (1 + RAMP_BACKWARD + full),
    }
    layers["dequantise"] = work.quantised_params / layout.tp * software.dequantise_bytes * (2 + full) / machine.memory_bytes_per_s
    device = sum(layers.values())
    layers["launch"] = layers["launch"] + issued_s(device, host_s(ops, work.layers, layout.tp, software, e) * (2 + full)) - device
    parts = _schedule(work, layout, machine, software, e, layers, layer_pass.head)
    parts["data_comm"] = _replica_comm(work, layout, machine, software, e, sum(parts.values()) - parts["bubble"])
    local = _local_params(work, layout) * work.trained_params / work.params
    shards = choose(layout.zero > 0, layout.dp * layout.cp, 1)
    parts["optimizer"] = local * OPTIMIZER_BYTES[optimizer] / shards / machine.memory_bytes_per_s
    parts["step"] = e.step_s
    nodes = greater((layout.tp * layout.pp * layout.cp * layout.dp) / 8, 1)
    parts["straggle"] = sum(parts.values()) * e.straggle * log2(nodes)
    return Ledger(parts={name: parts[name] for name in PARTS})


def _adapters_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software) -> Lane:
    """Forward: what is read and written beside the products of adapters, for every token; they are held whole on every rank."""
    moved = work.adapter_inputs * software.adapter_input_bytes + work.adapter_outputs * software.adapter_output_bytes
    return layout.micro_batch * work.seq_len / layout.cp * moved / machine.memory_bytes_per_s


def _selective_s(layer_pass: Pass, software: Software) -> Lane:
    if software.unfused:
        return layer_pass.attention[0]
    return software.selective_share * (layer_pass.matmul[0] + layer_pass.experts[0] + layer_pass.attention[0] + layer_pass.traffic[0])


def _layer_comm(
    work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency, layer_pass: Pass
) -> tuple[Lane, Lane, Lane]:
    """Exposed seconds of one forward pass of one micro-batch through all layers: tensor, expert and context parallel."""
    tokens = layout.micro_batch * work.seq_len / layout.cp
    tensor = tensor_parallel_s(tokens * work.width * 2, work.layers, layout.tp, machine, e) * software.tensor_exposed
    routed = tokens / layout.tp * work.width * software.token_bytes
    most_nodes = software.token_nodes or work.experts_per_token
    expert = work.routed_layers * all_to_all_s(routed, work.experts_per_token, layout.ep, machine, e, most_nodes=most_nodes)
    if software.hides_experts:  # half of what forward and backward compute lies beside each of the two passes
        compute = sum(layer_pass.matmul) + sum(layer_pass.experts) + sum(layer_pass.attention) + sum(layer_pass.traffic)
        expert = greater(expert - compute / 2, 0)
    else:
        expert = expert * e.expert_exposed * software.experts
    near = together(machine, stride=layout.tp, group=layout.cp)
    rate = bandwidth(machine, e, group=layout.cp, together=near)
    key_ranks = smaller(layout.tp, greater(work.kv_heads, 1))
    context = (layout.cp - 1) * tokens * work.kv_elements * 2 / key_ranks / rate * e.context_exposed
    return tensor, expert, context


def _local_params(work: SequenceCost, layout: Layout) -> Lane:
    """Parameters on the first or last stage's device, the fullest, before sharding between replicas."""
    layers = (work.dense.on_rank(layout.tp) + work.expert_params / layout.ep) / layout.pp
    return layers + work.embedding.on_rank(layout.tp) + work.head.on_rank(layout.tp)


def _schedule(
    work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency, layers: dict[str, Lane], head: Lane
) -> dict[str, Lane]:
    """All micro-batches through the slowest stage, and the bubble: `layers` are seconds of one through all layers."""
    micro = layout.global_batch / (layout.dp * layout.micro_batch)
    staged = layout.pp > 1
    chunks = layout.pp * layout.vp
    uneven = choose(staged, up(work.layers / chunks) * chunks / work.layers, 1.0)
    stage = sum(layers.values()) / layout.pp * uneven
    boundary = choose(staged, _boundary_s(work, layout, machine, software, e), 0.0)
    weights = (work.dense.on_rank(layout.tp) + work.expert_params / layout.ep) / layout.pp * work.trained_params / work.params
    parts: dict[str, Lane] = {name: micro * seconds / layout.pp for name, seconds in layers.items()}
    parts["imbalance"] = micro * sum(layers.values()) / layout.pp * (uneven - 1)
    parts["head"] = micro * greater(head - _free_s(work, layout, sum(layers.values())), 0.0)
    parts["accumulate"] = micro * weights * software.accumulate_bytes / machine.memory_bytes_per_s
    parts["pipeline_comm"] = micro * boundary
    left = choose(layout.zero_bubble, ZERO_BUBBLE_SHARE, 1.0)
    parts["bubble"] = (layout.pp - 1) / layout.vp * (stage + boundary) * left
    return parts


def _boundary_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> Lane:
    """Exposed seconds that one micro-batch takes across one boundary between stages, there and back, once for each chunk.

    Stages are as many devices apart as one stage has: two of them share a scale-up domain where it holds both. Interleaved
    chunks are sent while the next is computed; without interleaving the next stage waits.
    """
    stride = layout.tp * layout.cp * layout.dp
    near = 2 * stride <= machine.domain
    rate = choose(near, machine.link_bytes_per_s * e.link, machine.network_bytes_per_s * e.network)
    sent = 2 * layout.micro_batch * work.seq_len / layout.cp * work.streams * work.width * 2 / layout.tp
    exposed = choose(layout.vp > 1, software.interleaved_exposed, choose(near, 1.0, e.pipeline_exposed))
    return sent / rate * exposed * layout.vp


def _free_s(work: SequenceCost, layout: Layout, layers_s: Lane) -> Lane:
    """Seconds of the layer that the last stage does not have where layers leave places in the chunks: half of them are at its end."""
    chunks = layout.pp * layout.vp
    places = choose(layout.pp > 1, up(work.layers / chunks) * chunks - work.layers, 0.0)
    return smaller(places, 1.0) * layers_s / work.layers


def _replica_comm(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency, busy: Lane) -> Lane:
    """Exposed seconds between replicas: reduced gradients, gathered weights; `busy` is what a sharded step hides them behind."""
    trained = work.trained_params / work.params
    group = layout.dp * layout.cp
    rate = _replica_rate(layout, machine, software, e, group)
    dense = work.dense.on_rank(layout.tp) / layout.pp + work.embedding.on_rank(layout.tp) + work.head.on_rank(layout.tp)
    gradient = software.gradient_bytes * trained
    per_param = choose(layout.zero > 0, (2 if not software.data_overlapped else 1) * gradient + 2 * trained, 2 * gradient)
    plain = gather_s(dense * per_param, group, rate)
    replicas = greater(layout.tp * layout.cp * layout.dp / layout.ep, 1)
    crossing = bandwidth(machine, e, group=layout.dp * layout.cp, together=1)
    plain = plain + gather_s(work.expert_params / layout.ep / layout.pp * per_param, replicas, crossing)
    plain = plain * software.data_exposed

    micro = layout.global_batch / (layout.dp * layout.micro_batch)
    held = dense + work.expert_params / layout.ep / layout.pp
    cut = _shards(layout)
    gathered = gathered_s(work, layout, machine, software, e)
    three = layout.zero >= 3
    moved = gathered * choose(three, (2 + trained) * micro, 1 + trained * micro)
    moved = moved + choose(cut < group, gather_s(held * 2 * gradient / cut, group / cut, crossing), 0.0)
    power = e.overlap_power
    sharded = (busy**power + moved**power) ** (1 / power) - busy + e.shard_exposed * moved
    return choose(layout.zero >= 2, sharded, plain)


def _shards(layout: Layout) -> Lane:
    """Devices that sharded weights are divided among."""
    return choose(layout.shard > 0, layout.shard * layout.cp, layout.dp * layout.cp)


def gathered_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> Lane:
    """Seconds to gather every sharded weight of a device's stages once, as it is stored."""
    cut = _shards(layout)
    stored = 2 - (2 * work.quantised_params - work.quantised_bytes) / work.params
    dense = work.dense.on_rank(layout.tp) / layout.pp + work.embedding.on_rank(layout.tp) + work.head.on_rank(layout.tp)
    gathered = gather_s(dense * stored, cut, _replica_rate(layout, machine, software, e, cut))
    alike = greater(layout.tp * cut / layout.ep, 1)  # ranks that share out one expert: every ep-th device, so that a node has few of them
    expert_rate = bandwidth(machine, e, group=alike, together=together(machine, stride=layout.ep, group=alike))
    return gathered + gather_s(work.expert_params / layout.ep / layout.pp * stored, alike, expert_rate)


def _replica_rate(layout: Layout, machine: Machine, software: Software, e: Efficiency, group: Lane) -> Lane:
    whole = layout.tp * layout.pp * layout.cp * layout.dp <= machine.domain
    near = choose(whole, group, together(machine, stride=layout.tp, group=group))
    return bandwidth(machine, e, group=group, together=choose(software.flat_rings, choose(whole, group, 1), near))
