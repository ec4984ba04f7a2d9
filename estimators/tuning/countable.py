"""The parts of a fine-tuning's memory that can be counted on its tensors while it runs, on any device: what one step is held to."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.tuning.activations import Activations, activations_of
from estimators.tuning.job import TuningJob
from estimators.tuning.loss import TARGET_BYTES, kept_for_backward_bytes
from estimators.tuning.state import Held, held_of
from estimators.tuning.weights import HeldWeights, adapters_are_wide, decoder_of, head_is_wide, weights_of
from estimators.weight_formats import PLAIN

COUNTABLE = {
    "weights": "all but adapters: as they are stored",
    "adapters": "adapters",
    "gradients": "gradients after the last backward pass",
    "optimizer": "optimizer state, without the numbers of steps and maps of codes that all tensors share",
    "activations": "what a forward pass leaves for backward before the loss, 16-bit copies of weights included",
    "loss": "what the loss leaves for backward",
}
"""Parts that a job is counted in, in the order of a step."""


def why_not_exact(job: TuningJob) -> str:
    """What of a job's layers is followed in outline alone, so that what autograd keeps of them is not `activations` to the byte."""
    parts = [part for block in decoder_of(job).blocks for _, part in block.parts]
    if any(isinstance(part, Experts) for part in parts):
        return "experts are followed in outline"
    if not all(isinstance(part, Attention | FeedForward) for part in parts):
        return "mixers other than attention are followed in outline"
    if job.method.dora:
        return "DoRA's lengths are followed in outline"
    if job.attention == "eager" and job.checkpointing != "none":
        return "masks that layers are given are left out"
    return "layers that are compiled are followed in outline" if job.compiled else ""


def countable_bytes(job: TuningJob, *, on_cpu: bool = False) -> dict[str, int]:
    """Bytes by part, of one device that shares nothing, under transformers' own loss.

    Under checkpointing `activations` are the inputs of layers and what is kept outside of them.

    Args:
        on_cpu: whether a CPU runs it, see `estimators.tuning.activations.kernels_of`.

    Raises:
        BadValueError: a model that is no decoder, or that lacks what the method names.
        UnknownNameError: an unknown optimizer.
    """
    weights, model = weights_of(job), decoder_of(job)
    held, kept = held_of(job, weights), activations_of(job, job.seq_len, on_cpu=on_cpu)
    size = 4 if head_is_wide(job) and not job.autocast else job.dtype_bytes
    activations = kept.whole_bytes(job.rows) if job.checkpointing == "none" else kept.inputs_bytes(job.rows)
    parts = {
        "weights": held.parts["weights"] + held.parts["edges"],
        "adapters": held.parts["adapters"],
        "gradients": held.gradients_bytes,
        "optimizer": held.parts["optimizer"],
        "activations": activations + _copies_bytes(job, weights, held, kept) - TARGET_BYTES * job.micro_batch_tokens,
        "loss": kept_for_backward_bytes(job.rows, job.seq_len, model.vocab, size=size, capped=model.capped),
    }
    return {name: round(parts[name]) for name in COUNTABLE}


def _copies_bytes(job: TuningJob, weights: HeldWeights, held: Held, kept: Activations) -> float:
    """16-bit copies of fp32 weights under autocast, as backward keeps them.

    Under checkpointing the head's alone: those of layers are gone, or in autocast's own cache. `memory_of_job` leaves the copy of an fp32
    head beside a quantised base out: runs whose peaks were measured made fp32 logits there, without autocast.
    """
    if not job.autocast or job.sharding == "fsdp":
        return 0.0
    head = 2.0 * weights.head_params if head_is_wide(job) else 0.0
    if job.checkpointing != "none":
        return head
    spared = 2.0 * kept.spared_adapters if job.trains_adapters and adapters_are_wide(job) else 0.0
    if job.weights_dtype == "fp32" and job.method.base_format == PLAIN:
        return held.copies_bytes - spared - 2.0 * kept.spared_weights
    return held.copies_bytes - spared + head
