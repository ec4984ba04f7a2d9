"""Software by generation: which attention kernel it runs, what it fuses, what it overlaps. None of it is fitted."""

from __future__ import annotations

import functools
from typing import Any

from estimators.cost.array_math import Lane
from estimators.cost.efficiency import Efficiency
from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen

DEFAULT_STACK = "megatron-core"
"""What a plan assumes: fused kernels, overlapped gradients, as current software has them."""


@frozen
class Stack:
    """One generation of software.

    Attributes:
        id, name, note: the key, the name, and where its facts come from.
        attention: unfused, triton or fused: the kernel.
        traffic: classic, eager or fused: how element-wise work is run.
        launches_per_layer: operations that one layer's forward pass issues; assumed. A layer of transformers' GPT-2 issues 34 to 55.
        gradient_bytes: per gradient element in the reduction between replicas.
        accumulate_bytes: per parameter and micro-batch, to add a gradient to what is there.
        overlaps_tensor, overlaps_data: whether that communication runs beside compute.
        dequantise_bytes: per frozen parameter and pass, to make 16-bit weights of stored 4-bit ones.
        flat_rings: whether collectives cross the network once per device, instead of once per node and link.
    """

    id: str
    name: str
    note: str
    attention: str
    traffic: str
    launches_per_layer: float
    gradient_bytes: float
    accumulate_bytes: float
    overlaps_tensor: bool
    overlaps_data: bool
    flat_rings: bool
    dequantise_bytes: float = 0.0


@frozen
class Software:
    """A stack's facts joined with the constants that go with them; `attention` is a share of the bf16 ceiling."""

    unfused: bool
    attention: Lane
    traffic: Lane
    launches_per_layer: float
    gradient_bytes: float
    accumulate_bytes: float
    tensor_exposed: Lane
    data_exposed: Lane
    data_overlapped: bool
    flat_rings: bool
    dequantise_bytes: float = 0.0


@functools.cache
def stacks() -> dict[str, Stack]:
    """Every known generation of software by id."""
    body: dict[str, dict[str, Any]] = data.read_json(data.file("stacks.json"))
    return {name: Stack(id=name, **facts) for name, facts in body.items()}


def stack(name: str) -> Stack:
    """A generation of software. Raises UnknownNameError."""
    if name not in stacks():
        raise UnknownNameError("software", name, stacks(), "python -m bench list software")
    return stacks()[name]


def software(chosen: Stack, architecture: str, e: Efficiency) -> Software:
    """The stack on one GPU architecture, such as ``Hopper (GH100)``, under constants `e`."""
    triton = e.attention_triton_hopper if architecture.startswith("Hopper") else e.attention_triton_ampere
    traffic = {"classic": e.traffic_classic, "eager": e.traffic_eager, "fused": e.traffic_fused}[chosen.traffic]
    return Software(
        unfused=chosen.attention == "unfused",
        attention=triton if chosen.attention == "triton" else e.attention_fused,
        traffic=traffic,
        launches_per_layer=chosen.launches_per_layer,
        gradient_bytes=chosen.gradient_bytes,
        accumulate_bytes=chosen.accumulate_bytes,
        tensor_exposed=e.tensor_exposed if chosen.overlaps_tensor else 1.0,
        data_exposed=e.data_exposed if chosen.overlaps_data else 1.0,
        data_overlapped=chosen.overlaps_data,
        flat_rings=chosen.flat_rings,
        dequantise_bytes=chosen.dequantise_bytes,
    )
