"""What one device of a fine-tuning holds, moment by moment, and what the host holds beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from estimators.frozen import field, frozen, replace
from estimators.memory.optimizers import optimizer
from estimators.spec import Workload
from estimators.tuning.activations import activations_of
from estimators.tuning.job import TuningJob
from estimators.tuning.loss import LossMemory, loss_memory
from estimators.tuning.state import Held, gathered_edges_bytes, held_of
from estimators.tuning.weights import HeldWeights, adapters_are_wide, decoder_of, head_is_wide, trained_dtype, weights_of
from estimators.units import DTYPE_BYTES

PARTS = {
    "weights": "frozen weights as they are stored, and weights that are trained",
    "edges": "frozen embedding, head and norms",
    "adapters": "adapters",
    "reference": "a frozen copy of the weights, as DPO's reference",
    "masters": "fp32 weights beside 16-bit ones",
    "copies": "16-bit copies of fp32 weights under autocast",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "step": "copies of parameters during the optimizer's step",
    "activations": "activations kept for backward",
    "recomputed": "one layer run again, and gradients on the way back",
    "logits": "logits, loss and their gradients",
    "dequantised": "the 16-bit matrix that is made of a stored one while it is multiplied",
    "gathered": "sharded weights of the layers that run",
    "communication": "buckets of gradients that devices share",
    "kv_cache": "keys and values of what is generated",
    "engine": "an inference engine beside the trainer",
}
"""What a device holds, as the framework's allocator counts it."""


@frozen
class Moment:
    """A moment of a step.

    Attributes:
        name: load, forward, loss, backward, backward's end, optimizer step, or generation.
        parts: bytes by name, see PARTS; those that are not there are 0.
    """

    name: str
    parts: Mapping[str, float] = field(hash=False)

    @property
    def total_bytes(self) -> float:
        """Their sum: what torch.cuda.memory_allocated would say then."""
        return sum(self.parts.values())


@frozen
class JobMemory:
    """The memory of a job.

    Attributes:
        moments: of the fullest device, in their order.
        host: bytes by name, of all processes of the node: load, offloaded, pinned.
    """

    moments: tuple[Moment, ...]
    host: Mapping[str, float] = field(hash=False)

    @property
    def fullest(self) -> Moment:
        """The moment that decides."""
        return max(self.moments, key=lambda moment: moment.total_bytes)

    @property
    def runner_up(self) -> Moment:
        """The fullest of the others; itself where there is no other."""
        rest = [moment for moment in self.moments if moment is not self.fullest]
        return max(rest, key=lambda moment: moment.total_bytes) if rest else self.fullest

    @property
    def allocated_bytes(self) -> float:
        """What torch.cuda.max_memory_allocated reports on the fullest device."""
        return self.fullest.total_bytes


def memory_of_job(job: TuningJob, device_bytes: float = 0.0) -> JobMemory:
    """Memory of one step on the fullest device.

    Moments: the model is loaded; the forward pass is over; the loss is made; the last layer's way back with everything before it still
    kept; backward is over; the optimizer's step. Their largest is the peak.

    Args:
        device_bytes: of the whole device, of which an inference engine beside the trainer takes a share; 0 without one.

    Raises:
        BadValueError: a model that is no decoder, or that lacks what the method names.
        UnknownNameError: an unknown optimizer.
    """
    weights = weights_of(job)
    if job.objective == "inference":
        return _inference(job, weights)
    held = held_of(job, weights)
    moments = [*_load(job, weights, held), *_pass(job, weights, held), *_step(job, held)]
    engine = job.engine_share * device_bytes
    if engine:
        awake = 0.0 if job.engine_sleeps else engine
        moments = [_with(moment, engine=awake) for moment in moments]
        moments.append(Moment(name="generation", parts={**held.parts, "engine": engine}))
    return JobMemory(moments=tuple(moments), host=_host(job, weights))


def _with(moment: Moment, **more: float) -> Moment:
    return replace(moment, parts={**moment.parts, **{name: size for name, size in more.items() if size}})


def _load(job: TuningJob, weights: HeldWeights, held: Held) -> list[Moment]:
    """Weights go to the device as they are read; what is quantised on the way is there in 16 bits for a moment."""
    parts = {name: size for name, size in held.parts.items() if name not in ("optimizer", "masters")}
    dequantised = 2.0 * weights.largest_matrix
    return [Moment(name="load", parts={**parts, "dequantised": dequantised} if dequantised else parts)]


def _pass(job: TuningJob, weights: HeldWeights, held: Held) -> list[Moment]:
    rows, is_adapted = job.rows, job.trains_adapters
    kept = activations_of(job, job.seq_len)
    loss = _loss(job)
    stage = 1 / job.num_gpus if job.sharding == "device-map" else 1.0
    whole = kept.whole_bytes(rows) * stage
    recomputed = kept.one_layer_bytes(rows)
    if job.checkpointing != "none":
        whole = kept.inputs_bytes(rows) * stage
        if job.checkpointing == "offload" or job.offload.activations:
            whole = 2 * kept.inputs_bytes(rows) / max(1, decoder_of(job).layers)
    behind = whole - rows * kept.end_bytes * stage
    if job.checkpointing == "full" and job.sharding == "fsdp" and is_adapted:
        behind += kept.inputs_bytes(rows) - kept.around_bytes(rows)  # inputs outlive their layers, and gradients of them gather beside
    back = kept.passing_bytes(rows) + (recomputed if job.checkpointing != "none" else 0.0)
    dequantised = max(2.0 * weights.largest_matrix, _lengths_bytes(job, weights))
    base = {name: size for name, size in held.parts.items() if size}
    begun = held.gradients_bytes if job.accumulation > 1 or is_adapted else 0.0
    head = 0.0 if is_adapted else _head_share(job, weights) * held.gradients_bytes
    common = {"communication": held.bucket_bytes, "gathered": held.gathered_bytes}
    multiplied = {"dequantised": dequantised}
    moments = {
        "forward": multiplied
        | {"activations": whole + recomputed * (job.checkpointing != "none"), "copies": held.copies_bytes, "gradients": begun},
        "loss": {"activations": whole, "copies": held.copies_bytes, "gradients": begun, "logits": float(loss.logits_bytes)}
        | {"gathered": max(held.gathered_bytes, gathered_edges_bytes(job, weights))}
        | {"recomputed": max(0.0, loss.head_gradient_bytes - begun)},
        "backward": multiplied
        | {"gathered": held.gathered_bytes + gathered_edges_bytes(job, weights) / 2}  # the head, which the gradient went through first
        | {"activations": behind, "recomputed": back, "gradients": max(begun, head)}
        | {"copies": held.copies_bytes if job.checkpointing == "none" else held.copies_bytes / max(1, decoder_of(job).layers)},
        "backward's end": {"recomputed": recomputed, "gradients": held.gradients_bytes},
    }
    return [Moment(name=name, parts={**base, **_present(common | more)}) for name, more in moments.items()]


def _lengths_bytes(job: TuningJob, weights: HeldWeights) -> float:
    """What DoRA makes of a matrix to take its lengths: the adapter's product, that scaled, and their sum with the matrix, which fp32
    adapters cast first.

    Source: peft, tuners/lora/dora.py, get_weight_norm (version 0.21); counted in its operators, not measured.
    """
    if not job.method.dora:
        return 0.0
    product = job.dtype_bytes if job.autocast or not adapters_are_wide(job) else 4
    whole = 4 if adapters_are_wide(job) else job.dtype_bytes
    return float(weights.largest_adapted * (2 * product + whole * (2 if whole > job.dtype_bytes else 1)))


def _present(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: size for name, size in parts.items() if size}


def _head_share(job: TuningJob, weights: HeldWeights) -> float:
    """Of all gradients those of the head, which are there before those of the layers."""
    model = decoder_of(job)
    return min(1.0, model.vocab * model.width / max(1, weights.trained_params))


def _loss(job: TuningJob) -> LossMemory:
    if job.objective == "reward":
        return LossMemory(logits_bytes=0)
    model = decoder_of(job)
    size = 4 if head_is_wide(job) else job.dtype_bytes
    trained_head = 0 if job.trains_adapters and "head" not in job.saved_modules else int(DTYPE_BYTES[trained_dtype(job)])
    return loss_memory(
        job.loss,
        job.micro_batch_tokens,
        model.width,
        model.vocab,
        size=size,
        capped=model.capped,
        divided=job.objective == "grpo",
        widened=job.widens_logits,
        trained_head=trained_head,
        judged_tokens=LIGER_ROWS.get(job.objective, 0) * job.seq_len,
    )


LIGER_ROWS = {"dpo": 2, "orpo": 2, "kto": 2, "grpo": 1}
"""Rows that Liger's losses of judged answers take at once: a pair, two single answers, one. Source: its chunked_loss, CHUNK_SIZE = 1."""


def _step(job: TuningJob, held: Held) -> list[Moment]:
    parts = _present({**held.parts, "gradients": held.gradients_bytes, "step": held.step_bytes, "communication": held.bucket_bytes})
    return [Moment(name="optimizer step", parts=parts)]


def _inference(job: TuningJob, weights: HeldWeights) -> JobMemory:
    """Weights, keys and values of every sequence at its full length, and the logits of one position."""
    model = decoder_of(job)
    share = 1 / job.num_gpus if job.sharding == "device-map" else 1.0
    size = job.dtype_bytes
    parts = {
        "weights": (weights.layer_bytes + (0 if weights.layer_bytes else weights.trained_bytes)) * share,
        "edges": weights.edge_bytes * share,
    }
    decode = Workload(phase="decode", batch=job.micro_batch, context_len=max(0, job.seq_len - 1), dtype=job.dtype)
    cache = sum(op.count * op.held_cache_bytes for op in model.ops(decode)) * share
    planes = job.micro_batch * job.seq_len * size * (4 * model.width + GRADIENT_FREE_PLANES * max(1, _feed_forward_width(job)))
    moments = (
        Moment(name="load", parts=_present({**parts, "dequantised": 2.0 * weights.largest_matrix})),
        Moment(
            name="prefill", parts=_present({**parts, "kv_cache": float(cache), "activations": float(planes), "logits": 6.0 * model.vocab})
        ),
    )
    return JobMemory(moments=moments, host=_host(job, weights))


GRADIENT_FREE_PLANES = 3
"""Planes of the feed-forward's width that a forward pass without gradients holds at once: gate, up, their product."""


def _feed_forward_width(job: TuningJob) -> int:
    model = decoder_of(job)
    plain = model.plain_block
    return plain[1].width if plain else 4 * model.width


def _host(job: TuningJob, weights: HeldWeights) -> dict[str, float]:
    """Bytes of host memory of one node: what is loaded by each process, what is offloaded, and what of that is pinned."""
    whole = float(weights.frozen_bytes + weights.trained_params * job.dtype_bytes)
    processes = job.data_parallel
    host = {"load": whole * processes if job.sharding.startswith("zero") else whole}
    trained = weights.trained_params
    if job.offload.optimizer:
        host["offloaded optimizer"] = 4.0 * trained + sum(optimizer(job.optimizer).state_bytes(t) for t in weights.trained) + 4.0 * trained
    if job.offload.parameters:
        host["offloaded parameters"] = whole
    if job.checkpointing == "offload" or job.offload.activations:
        host["pinned activations"] = math.ceil(activations_of(job, job.seq_len).inputs_bytes(job.rows)) * float(processes)
    return host
