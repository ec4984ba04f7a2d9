"""What one device of a fine-tuning holds between passes: weights, gradients and optimizer state, shared out as the job says."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.frozen import field, frozen, replace
from estimators.memory.optimizers import Optimizer, optimizer
from estimators.tuning.job import TuningJob
from estimators.tuning.weights import HeldWeights, adapters_are_wide, trained_dtype
from estimators.units import DTYPE_BYTES
from estimators.weight_formats import PLAIN

BUCKET_ELEMENTS = 5 * 10**8
"""Of DeepSpeed's reduce and allgather buckets. Source: DeepSpeed, docs/_pages/config-json.md (version 0.16)."""

PREFETCHED_ELEMENTS, LIVE_ELEMENTS = 5 * 10**7, 10**9
"""Of stage3_prefetch_bucket_size and stage3_max_live_parameters, of the same page."""


@frozen
class Held:
    """State of one device between steps.

    Attributes:
        parts: weights, edges, adapters, masters, optimizer, reference.
        gradients_bytes: of all gradients that the device holds.
        step_bytes: more during the optimizer's step.
        copies_bytes: of 16-bit copies under autocast.
        gathered_bytes: of sharded weights while layers run.
        bucket_bytes: of communication.
    """

    parts: Mapping[str, float] = field(hash=False)
    gradients_bytes: float
    step_bytes: float
    copies_bytes: float
    gathered_bytes: float
    bucket_bytes: float


def held_of(job: TuningJob, weights: HeldWeights) -> Held:
    """The state of one device, shared out as the job says."""
    kept = optimizer(job.optimizer)
    trained, size = weights.trained_params, DTYPE_BYTES[trained_dtype(job)]
    adapters = sum(tensor.params * tensor.size for tensor in weights.trained) if job.trains_adapters else 0
    full = 0 if job.trains_adapters else weights.trained_bytes
    frozen_share, trained_share, gradient_share, state_share = _shares(job)
    masters = 4.0 * trained if job.has_fp32_masters else 0.0
    of_masters = [replace(tensor, size=4) for tensor in weights.trained] if masters else weights.trained
    state = float(sum(kept.state_bytes(tensor, job.optimizer_rank) for tensor in of_masters))
    gradients = sum(tensor.params * tensor.size for tensor in weights.trained)
    lies_on_host = job.offload.optimizer
    layers = (weights.layer_bytes + full) * frozen_share if full == 0 else weights.layer_bytes * frozen_share + full * trained_share
    reference = (weights.frozen_bytes + full) * frozen_share if job.reference == "copy" else 0.0
    parts = {
        "weights": layers,
        "edges": weights.edge_bytes * frozen_share,
        "adapters": adapters * trained_share,
        "masters": 0.0 if lies_on_host else masters * state_share,
        "optimizer": 0.0 if lies_on_host else state * state_share,
        "reference": reference,
    }
    if job.offload.parameters:
        parts |= {"weights": 0.0, "edges": 0.0}
    held_gradients = 0.0 if _is_in_backward(job, kept) else gradients * gradient_share
    copies = _copies_bytes(job, weights)
    return Held(
        parts=parts,
        gradients_bytes=held_gradients,
        step_bytes=0.0 if lies_on_host else _step_bytes(job, weights, kept, trained * size if full else adapters) * state_share,
        copies_bytes=copies,
        gathered_bytes=_gathered_bytes(job, weights),
        bucket_bytes=_bucket_bytes(job, gradients),
    )


def _shares(job: TuningJob) -> tuple[float, float, float, float]:
    """Of frozen weights, trained weights, gradients and optimizer state: the share that one device holds."""
    one = 1 / job.num_gpus
    return {
        "none": (1.0, 1.0, 1.0, 1.0),
        "ddp": (1.0, 1.0, 1.0, 1.0),
        "zero-1": (1.0, 1.0, 1.0, one),
        "zero-2": (1.0, 1.0, one, one),
        "zero-3": (one, one, one, one),
        "fsdp": (one, one, one, one),
        "device-map": (one, one, one, one),
    }[job.sharding]


def _is_in_backward(job: TuningJob, kept: Optimizer) -> bool:
    return job.fuses_backward or kept.is_in_backward


def _step_bytes(job: TuningJob, weights: HeldWeights, kept: Optimizer, trained_bytes: float) -> float:
    """What an optimizer holds while it steps: copies of all parameters, or of its largest tensor in fp32."""
    if job.has_fp32_masters:
        return 4.0 * weights.trained_params  # gradients cast to the masters' dtype
    largest = max((tensor.elements for tensor in weights.trained), default=0)
    return kept.step_copies * trained_bytes + 4.0 * kept.tensor_copies * largest


def _copies_bytes(job: TuningJob, weights: HeldWeights) -> float:
    """16-bit copies of fp32 weights that autocast makes of what it multiplies by.

    A trained one's is made once a pass. A frozen one's is made at every use, and backward keeps it for the gradient of its input: all of
    them beside adapters over an fp32 base; under checkpointing, where layers are run again, the head's.
    """
    if not job.autocast or job.sharding == "fsdp":
        return 0.0
    if not job.trains_adapters:
        return 2.0 * weights.multiplied_params if trained_dtype(job) == "fp32" else 0.0
    is_wide = job.weights_dtype == "fp32" and job.method.base_format == PLAIN
    frozen = (weights.multiplied_params if job.checkpointing == "none" else weights.head_params) if is_wide else 0
    return 2.0 * (frozen + (weights.adapter_params if adapters_are_wide(job) else 0))


def _gathered_bytes(job: TuningJob, weights: HeldWeights) -> float:
    """Layers whose sharded weights are there in full: two of them; under DeepSpeed what it brings ahead of time as well."""
    if job.sharding not in ("zero-3", "fsdp") and not job.offload.parameters:
        return 0.0
    size = job.dtype_bytes
    layer = weights.largest_layer_bytes if job.trains_adapters or job.method.base_format != PLAIN else weights.largest_layer_params * size
    whole = weights.frozen_bytes + weights.trained_params * size
    if job.sharding == "zero-3":
        return float(min(LIVE_ELEMENTS * size, whole, 2 * layer + PREFETCHED_ELEMENTS * size))
    return float(min(2 * layer, whole))


def gathered_edges_bytes(job: TuningJob, weights: HeldWeights) -> float:
    """Embedding, head and final norm, which FSDP gathers as one unit and holds until the loss is made."""
    if job.sharding not in ("zero-3", "fsdp"):
        return 0.0
    return float(weights.edge_bytes if job.trains_adapters else weights.edge_params * job.dtype_bytes)


def _bucket_bytes(job: TuningJob, gradients: float) -> float:
    """DDP keeps a copy of all gradients in buckets; DeepSpeed two buckets of half a billion elements."""
    if job.num_gpus == 1 or job.sharding in ("none", "device-map", "fsdp"):
        return 0.0
    return gradients if job.sharding == "ddp" else min(gradients, 2.0 * BUCKET_ELEMENTS * job.dtype_bytes)
