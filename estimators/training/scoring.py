"""Forward passes alone, without gradients: log-probabilities of a reference model, of the policy before an update, or of a reward model."""

from __future__ import annotations

from estimators.cost.array_math import Lane
from estimators.cost.compute import host_s, issued_s, operations
from estimators.cost.efficiency import Efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine
from estimators.cost.software import Software
from estimators.frozen import replace
from estimators.training.passes import pass_s
from estimators.training.sequence_cost import SequenceCost
from estimators.training.step import gathered_s


def scoring_s(work: SequenceCost, layout: Layout, machine: Machine, software: Software, e: Efficiency) -> float:
    """Seconds of the forward passes of a whole step's micro-batches, on devices that share samples alone.

    As the forward half of `step_time`: products, attention, element-wise work, head and loss, dequantisation, launches; sharded weights
    are gathered once for each micro-batch, behind compute where they are shorter.

    Args:
        work: one row's work; what is trained of it is not looked at.
        layout: with tp, pp and cp of 1.
    """
    frozen = replace(work, products=tuple(replace(p, trained=False, passes_gradient=False) for p in work.products))
    once = pass_s(frozen, layout, machine, software, e)
    issued = operations(work.layers, work.routed_layers, layout.tp, software.launches_per_layer) + work.adapters * software.adapter_launches
    kernels = operations(work.layers, work.routed_layers, layout.tp, software.kernels_per_layer) + work.adapters * software.adapter_launches
    device: Lane = once.matmul[0] + once.experts[0] + once.attention[0] + once.traffic[0] + once.head
    device = device + work.quantised_params * software.dequantise_bytes / machine.memory_bytes_per_s + kernels * e.launch_s
    busy = issued_s(device, host_s(issued, work.layers, layout.tp, software, e))
    exposed = max(0.0, float(gathered_s(work, layout, machine, software, e) - busy)) if layout.zero >= 3 else 0.0
    micro = layout.global_batch / (layout.dp * layout.micro_batch)
    return float(micro * (busy + exposed))
