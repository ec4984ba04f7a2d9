"""Software by generation: which attention kernel it runs, what it fuses, what it overlaps. None of it is fitted."""

from __future__ import annotations

import functools
from typing import Any, Protocol

from estimators.cost.array_math import Lane
from estimators.cost.efficiency import Efficiency
from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen
from estimators.tuning.constants import tuning_constants

DEFAULT_STACK = "megatron-core"
"""What a plan assumes: fused kernels, overlapped gradients, as current software has them."""

SHARDED_STACK = "pytorch-fsdp2"
"""What it assumes where replicas share out gradients or weights (ZeRO-2 and 3): Megatron-Core shares out the optimizer's state alone."""


class Shards(Protocol):
    """What the usual software of a layout depends on."""

    @property
    def zero(self) -> Lane: ...


def is_sharded(layout: Shards) -> Lane:
    """Whether a layout, or each of many, is one that PyTorch's FSDP usually runs."""
    return layout.zero >= 2


def usual_stack(layout: Shards) -> str:
    """The software that usually runs a layout.

    >>> from estimators.cost.layout import Layout
    >>> usual_stack(Layout(dp=8, zero=3, global_batch=8)), usual_stack(Layout(tp=8))
    ('pytorch-fsdp2', 'megatron-core')
    """
    return SHARDED_STACK if is_sharded(layout) else DEFAULT_STACK


@frozen
class Stack:
    """One generation of software.

    Attributes:
        id, name, note: the key, the name, and where its facts come from.
        attention: unfused, triton, flash2 or fused (cuDNN, FlashAttention-3): the kernel.
        traffic: classic, eager, compiled or fused: how element-wise work is run.
        scaling: of operands below 16 bits: ahead (by scales that are known, inside the kernels before), dynamic (by a pass over each
            operand) or rowwise (by a pass along each of its sides).
        launches_per_layer: operations that one layer's forward pass issues; assumed. A layer of transformers' GPT-2 issues 34 to 55.
        kernels_per_layer: those of them that start a kernel; views, checks and bookkeeping do not.
        gradient_bytes: per gradient element in the reduction between replicas.
        accumulate_bytes: per parameter and micro-batch, to add a gradient to what is there.
        fuses_accumulation: whether the weight-gradient product does it, so that part of it is hidden.
        loss_bytes: per token and vocabulary entry, that logits and loss move: a count of its kernels.
        selective_share: of a fused layer's forward pass, what selective recomputation runs again.
        overlaps_tensor, overlaps_data, overlaps_pipeline: whether that communication runs beside compute; a pipeline's where
            chunks are interleaved.
        experts: old, usual or new: the release of what routes tokens and multiplies experts.
        hides_experts: whether tokens travel beside the compute of another micro-batch, so that only what does not fit behind it is exposed.
        token_bytes: per element of a token, to its experts and back.
        token_nodes: the most nodes that a token is sent to, where groups of experts lie on nodes; 0: as many as it has experts.
        graphs: whether the device replays recorded graphs, so that the host issues nothing.
        dequantise_bytes: per frozen parameter and pass, to make 16-bit weights of stored 4-bit ones.
        flat_rings: whether collectives cross the network once per device, instead of once per node and link.
    """

    id: str
    name: str
    note: str
    attention: str
    traffic: str
    launches_per_layer: float
    kernels_per_layer: float
    gradient_bytes: float
    accumulate_bytes: float
    loss_bytes: float
    selective_share: float
    overlaps_tensor: bool
    overlaps_data: bool
    flat_rings: bool
    overlaps_pipeline: bool = False
    fuses_accumulation: bool = False
    experts: str = "usual"
    hides_experts: bool = False
    token_bytes: float = 4.0
    token_nodes: int = 0
    graphs: bool = False
    scaling: str = "ahead"
    dequantise_bytes: float = 0.0


@frozen
class Software:
    """A stack's facts joined with the constants that go with them; `attention` is a share of the bf16 ceiling."""

    unfused: bool
    attention: Lane
    traffic: Lane
    launches_per_layer: float
    kernels_per_layer: float
    gradient_bytes: float
    accumulate_bytes: Lane
    loss_bytes: float
    selective_share: float
    tensor_exposed: Lane
    interleaved_exposed: Lane
    data_exposed: Lane
    data_overlapped: bool
    flat_rings: bool
    experts: Lane
    hides_experts: bool
    token_bytes: float
    token_nodes: int
    graphs: bool
    low_products: Lane = 1.0
    dequantise_bytes: float = 0.0
    adapter_launches: float = 0.0
    adapter_input_bytes: float = 0.0
    adapter_output_bytes: float = 0.0


ADAPTER_LAUNCHES, ADAPTER_BYTES = 4.0, 10.0
"""Kernels of the forward pass of an adapter of the dtype of compute, and bytes that move beside its products for each element that it
writes: its result scaled (2 + 2) and added to the matrix's (2 + 2 + 2). Source: peft, tuners/lora/layer.py, Linear.forward (version 0.21);
NeMo, peft/lora.py, LinearAdapter.forward (version 2)."""


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
    traffic = {"classic": e.traffic_classic, "eager": e.traffic_eager, "compiled": e.traffic_compiled, "fused": e.traffic_fused}[
        chosen.traffic
    ]
    return Software(
        unfused=chosen.attention == "unfused",
        attention=_attention(chosen, architecture, e),
        traffic=traffic,
        launches_per_layer=chosen.launches_per_layer,
        kernels_per_layer=chosen.kernels_per_layer,
        gradient_bytes=chosen.gradient_bytes,
        accumulate_bytes=chosen.accumulate_bytes * (e.accumulate_exposed if chosen.fuses_accumulation else 1.0),
        loss_bytes=chosen.loss_bytes,
        selective_share=chosen.selective_share,
        tensor_exposed=e.tensor_exposed if chosen.overlaps_tensor else 1.0,
        interleaved_exposed=e.interleaved_exposed if chosen.overlaps_pipeline else e.pipeline_exposed,
        data_exposed=e.data_exposed if chosen.overlaps_data else 1.0,
        data_overlapped=chosen.overlaps_data,
        flat_rings=chosen.flat_rings,
        experts={"old": e.experts_old, "usual": 1.0, "new": e.experts_new}[chosen.experts],
        hides_experts=chosen.hides_experts,
        token_bytes=chosen.token_bytes,
        token_nodes=chosen.token_nodes,
        graphs=chosen.graphs,
        low_products={"ahead": 1.0, "dynamic": e.dynamic, "rowwise": e.rowwise}[chosen.scaling],
        dequantise_bytes=chosen.dequantise_bytes,
        adapter_launches=ADAPTER_LAUNCHES,
        adapter_output_bytes=ADAPTER_BYTES * tuning_constants().adapter_traffic,
    )


def _attention(chosen: Stack, architecture: str, e: Efficiency) -> Lane:
    """Share of the bf16 ceiling that the stack's attention kernel reaches on an architecture; an unfused one has none."""
    hopper, ampere, blackwell = (architecture.startswith(name) for name in ("Hopper", "Ampere", "Blackwell"))
    if chosen.attention == "triton":
        return e.attention_triton_hopper if hopper else e.attention_triton_ampere
    if blackwell:
        return e.attention_ultra if "Ultra" in architecture else e.attention_blackwell
    if ampere:
        return e.attention_flash2_ampere
    return e.attention_flash2_hopper if chosen.attention == "flash2" else e.attention_fused
