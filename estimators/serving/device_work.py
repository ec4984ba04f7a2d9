"""What one device of a deployment does in a step, per token and per key: the model's work, cut; bytes and FLOP, and no fitted constant."""

from __future__ import annotations

from estimators.cost.array_math import Lane
from estimators.cost.collectives import LAYER_COLLECTIVES, together
from estimators.cost.machine import machine_of
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.serving.constants import port_of
from estimators.serving.deployment import Deployment
from estimators.serving.held_weights import served_model
from estimators.serving.kv_cache import value_bytes
from estimators.serving.work import PLAIN_BYTES, CacheWork, ExpertWork, ModelWork, model_work
from estimators.spec import Hardware
from estimators.weight_formats import PLAIN, WeightFormat

ROUTED_BYTES = 3
"""Of an element of a token on its way to an expert and back: 8 bits there, 16 back, as DeepSeek-V3 sends them."""

ONE_BATCH = ("llama.cpp", "transformers", "deepspeed")
"""Engines whose pipeline stages wait for one another: all sequences are one batch."""

PRODUCT_DTYPES = {"fp8": "fp8", "fp8-tiles": "fp8", "mxfp4": "mxfp4", "nvfp4": "nvfp4"}
"""Formats -> in what their products run, where the device has a peak for it; elsewhere, and for integers, in 16 bits."""

KINDS = {"mxfp4": "4", "nvfp4": "4", "fp8": "8", "fp8-tiles": "8", PLAIN: "16"}
"""Formats -> whose constants they have: of 16, 8 or 4 bits, or those of integers for all others."""


@frozen
class DeviceCache:
    """Layers of one kind of attention on one device.

    Attributes:
        window: keys that a query sees at most.
        key_bytes: read for one key of one sequence, all layers.
        decode_flop, prefill_flop: of one query and one key, all layers.
    """

    window: Lane
    key_bytes: Lane
    decode_flop: Lane
    prefill_flop: Lane


@frozen
class DeviceExperts:
    """Layers of one kind of experts on one device.

    Attributes:
        missed: share of the experts that a token is not sent to.
        num_bytes: of every expert that the device holds, all layers.
        flop: of one token of the replica, in the mean over devices.
    """

    missed: Lane
    num_bytes: Lane
    flop: Lane


@frozen
class DeviceWork:
    """One device's work. A token is one of the device's own group of attention, except where it is said to be the replica's.

    Attributes:
        kind: of the format, a value of KINDS, or `int`.
        is_native: whether its products run in the format; else in 16 bits.
        port: whose factor the device's work has, see `constants.port_of`.
        stored_bytes, stored_flop: of matrices that the format holds: read in a step, and for each token.
        plain_bytes, plain_flop: of those in 16 bits.
        head_bytes, head_flop: of the head; FLOP for each token that is written.
        caches, experts: by kind.
        state_bytes: of recurrent layers, for each sequence.
        element_bytes: moved around products, for each token.
        layers, expert_layers: that a step runs through, on all stages.
        reduces, reduce_bytes: all-reduces of a step, and what each token adds to all of them together, sent by a ring.
        ranks: of the group that they join.
        routed_bytes: sent to other devices' experts and back, for each token of the replica.
        hops, hop_bytes: ends of pipeline stages, and what each token adds to all of them.
        groups, stages, expert_ranks: that share out sequences, and experts.
        verified: tokens that a decode step has of a sequence, and `drafts` of them come from a draft.
        memory_bytes_per_s, link_bytes_per_s, network_bytes_per_s: rated.
        flop16_per_s, format_flop_per_s: ceilings of products; `peak16`, `format_peak`: rated.
        near, experts_near: of those groups, devices that one scale-up domain holds.
        linked: whether devices have a scale-up link.
    """

    kind: str
    is_native: bool
    port: str
    stored_bytes: Lane
    stored_flop: Lane
    plain_bytes: Lane
    plain_flop: Lane
    head_bytes: Lane
    head_flop: Lane
    caches: tuple[DeviceCache, ...]
    experts: tuple[DeviceExperts, ...]
    state_bytes: Lane
    element_bytes: Lane
    layers: Lane
    expert_layers: Lane
    reduces: Lane
    reduce_bytes: Lane
    ranks: Lane
    routed_bytes: Lane
    hops: Lane
    hop_bytes: Lane
    groups: Lane
    stages: Lane
    expert_ranks: Lane
    drafts: Lane
    memory_bytes_per_s: Lane
    link_bytes_per_s: Lane
    network_bytes_per_s: Lane
    flop16_per_s: Lane
    format_flop_per_s: Lane
    peak16_flop_per_s: Lane
    format_peak_flop_per_s: Lane
    near: Lane
    experts_near: Lane
    linked: bool


def device_work(d: Deployment) -> DeviceWork:
    """The work of one device, the fullest.

    Raises:
        BadValueError: a model that no step of serving is estimated for, ranks that do not divide its heads, an unknown format, or a
            device without a peak in 16 bits.
    """
    work, hardware = model_work(served_model(d)), d.hardware
    _check_ranks(work, d)
    sixteen = sixteen_of(hardware, d.compute)
    machine, low = machine_of(hardware, sixteen, cluster=d.cluster), _product_dtype(hardware, d.weights)
    stored, plain = work.stored.on_rank(d.tp), work.plain.on_rank(d.tp)
    copies = d.tp * d.dp // d.ep  # devices that cut each expert
    token_bytes = PLAIN_BYTES * work.width
    rings = (d.tp - 1) / d.tp
    sends = d.dp > 1 and work.expert_layers > 0
    reduces = LAYER_COLLECTIVES * work.layers - (work.expert_layers if sends else 0)
    return DeviceWork(
        kind=KINDS.get(d.weights, "int"),
        is_native=bool(low),
        port=port_of(hardware.architecture, d.engine),
        stored_bytes=work.stored_bytes.on_rank(d.tp),
        stored_flop=2 * stored,
        plain_bytes=PLAIN_BYTES * plain,
        plain_flop=2 * plain,
        head_bytes=work.head_bytes.on_rank(d.tp),
        head_flop=2 * work.head.on_rank(d.tp),
        caches=tuple(_cache(kind, d) for kind in work.caches),
        experts=tuple(_experts(kind, d, copies) for kind in work.experts),
        state_bytes=work.state_bytes / d.tp,
        element_bytes=PLAIN_BYTES * (work.cut_elements / d.tp + work.whole_elements),
        layers=work.layers,
        expert_layers=work.expert_layers,
        reduces=reduces if d.tp > 1 else 0,
        reduce_bytes=reduces * 2 * rings * token_bytes,
        ranks=d.tp,
        routed_bytes=_routed_bytes(work, d) if sends else 0.0,
        hops=d.pp - 1,
        hop_bytes=(d.pp - 1) * token_bytes / d.tp,
        groups=d.dp,
        stages=1 if d.engine.engine in ONE_BATCH else d.pp,
        expert_ranks=d.ep if work.experts else 1,
        drafts=d.speculation.draft_tokens if d.speculation else 0,
        memory_bytes_per_s=hardware.memory_bytes_per_s,
        link_bytes_per_s=machine.link_bytes_per_s,
        network_bytes_per_s=machine.network_bytes_per_s,
        flop16_per_s=machine.flop_per_s,
        format_flop_per_s=machine_of(hardware, low, cluster=d.cluster).flop_per_s if low else machine.flop_per_s,
        peak16_flop_per_s=_rated(d, sixteen),
        format_peak_flop_per_s=_rated(d, low or sixteen),
        near=together(machine, stride=1, group=d.tp),
        experts_near=together(machine, stride=1, group=d.tp * d.dp),
        linked=hardware.link_bytes_per_s is not None,
    )


def _rated(d: Deployment, dtype: str) -> float:
    """What no product of the deployment can beat: llama.cpp's may run in integers, or accumulate in 16 bits."""
    peaks = d.hardware.peak_flop_per_s
    return max(peaks.values()) if d.engine.engine == "llama.cpp" else peaks[dtype]


def sixteen_of(hardware: Hardware, wanted: str) -> str:
    """The 16-bit dtype that a device's products run in: the wanted one, or the other where it has no peak for it.

    >>> from estimators.facts.registry import hardware
    >>> sixteen_of(hardware("t4-16gb"), "bf16")
    'fp16'
    """
    return wanted if wanted in hardware.peak_flop_per_s else "fp16" if wanted == "bf16" else "bf16"


def _product_dtype(hardware: Hardware, weights: WeightFormat) -> str:
    """In what products of a format run on a device; empty for 16 bits."""
    dtype = PRODUCT_DTYPES.get(weights, "")
    if dtype not in hardware.peak_flop_per_s:
        return ""
    return "fp8" if dtype == "mxfp4" else dtype  # activations of experts are 8-bit floats there


def _check_ranks(work: ModelWork, d: Deployment) -> None:
    heads = max((kind.queries for kind in work.caches), default=d.tp)
    if heads % d.tp:
        raise BadValueError(f"{d.tp} ranks of tensor parallelism do not divide the {heads} heads of {d.model.name}")
    if d.pp > work.layers:
        raise BadValueError(f"{d.pp} pipeline stages of {d.model.name}, which has {work.layers} layers")
    if d.ep > d.tp * d.dp:
        raise BadValueError(f"experts over {d.ep} devices, of which each stage has {d.tp * d.dp}")


def _cache(kind: CacheWork, d: Deployment) -> DeviceCache:
    key_bytes = kind.layers * kind.elements_per_key * value_bytes(d.kv) / min(d.tp, kind.heads)
    decode, prefill = kind.decode_flop * kind.layers / d.tp, kind.prefill_flop * kind.layers / d.tp
    return DeviceCache(window=kind.window, key_bytes=key_bytes, decode_flop=decode, prefill_flop=prefill)


def _experts(kind: ExpertWork, d: Deployment, copies: int) -> DeviceExperts:
    return DeviceExperts(
        missed=1 - kind.per_token / kind.num,
        num_bytes=kind.layers * kind.num * kind.num_bytes / (d.ep * copies),
        flop=2 * kind.layers * kind.per_token * kind.params / (d.tp * d.dp),
    )


def _routed_bytes(work: ModelWork, d: Deployment) -> float:
    """Of a token of the replica, on its own device: its copies to experts elsewhere and back."""
    elsewhere = (d.ep - 1) / d.ep
    sent = sum(kind.layers * min(kind.per_token, d.ep) for kind in work.experts)
    return sent * ROUTED_BYTES * work.width * elsewhere / (d.tp * d.dp)
