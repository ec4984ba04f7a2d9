"""A machine without losses, and steps on it: where closed forms must come out."""

from __future__ import annotations

from typing import Any

from estimators.architectures.from_config import model_from_config
from estimators.cost.efficiency import Efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine
from estimators.cost.software import Software, software, stack
from estimators.facts.registry import model_entry
from estimators.frozen import replace
from estimators.training.sequence_cost import sequence_cost_of
from estimators.training.step import step_time

IDEAL = Efficiency(
    **{
        **dict.fromkeys(Efficiency.__slots__, 1.0),
        **dict.fromkeys(
            ("tile_tail", "depth", "odd_head", "quantise", "routing_passes", "host_op_s", "launch_s", "latency_s", "step_s", "straggle"),
            0.0,
        ),
        "head_half": 0.0,
        "unfused_passes": 0.0,
    }
)
"""Everything at its peak, nothing in the way."""

MACHINE = Machine(
    flop_per_s=1e15,
    flop16_per_s=1e15,
    units=100,
    memory_bytes=80e9,
    memory_bytes_per_s=1e30,
    link_bytes_per_s=1e30,
    network_bytes_per_s=1e30,
    domain=8,
)
"""A petaflop a second and, unless a test says otherwise, free memory and links."""


def model(name: str) -> Any:
    return model_from_config(model_entry(name).config, name)


def classic() -> Software:
    return software(stack("megatron-2021"), "Ampere", IDEAL)


def ideal_step(layout: Layout, machine: Machine = MACHINE, name: str = "gpt-3", seq_len: int = 2048) -> Any:
    return step_time(sequence_cost_of(model(name), seq_len), layout, machine, classic(), IDEAL)


def fused(**facts: Any) -> Software:
    return replace(software(stack("megatron-core"), "Hopper", IDEAL), **facts)


def parts_of(name: str, layout: Layout, *, machine: Machine = MACHINE, e: Efficiency = IDEAL, on: Software | None = None) -> Any:
    return step_time(sequence_cost_of(model(name), 2048), layout, machine, on or fused(), e).parts
