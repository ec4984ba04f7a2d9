"""What one device keeps for backward in a training step by transformers and PyTorch, without a layout: for single estimates."""

from __future__ import annotations

from estimators.architectures.decoder import Decoder
from estimators.memory.kernels import AUTOCAST, EAGER
from estimators.memory.layer_memory import model_memory_of
from estimators.spec import Model, Workload

LOGITS = "logits_and_loss"
"""Name of the part that the head and the loss keep."""


def kept_by_torch(model: Model, workload: Workload) -> dict[str, int] | None:
    """Activations, and logits and loss, in bytes; None for what is not a decoder trained in full.

    Attention by scaled_dot_product_attention, fp32 weights, compute in the workload's dtype under torch.autocast; no dropout.
    With full recomputation every layer's input is kept, and one layer is run again.

    Phi-2 on 1,024 tokens in fp32: 12 bytes per logit, the inputs of the last norm and of the head, 16 bytes per token of
    that norm's statistics and the target.

    >>> from estimators.validation.model import shipped_model
    >>> kept = kept_by_torch(shipped_model("phi-2"), Workload(phase="train", seq_len=1024, dtype="fp32"))
    >>> kept["logits_and_loss"] == 1024 * (12 * 51200 + 2 * 4 * 2560 + 16)
    True
    """
    if not isinstance(model, Decoder):
        return None
    kernels = EAGER if workload.dtype_bytes >= 4 else AUTOCAST
    model_memory = model_memory_of(model, workload.seq_len, kernels, workload.dtype)
    first, rest = (layer.kept.per_sequence for layer in (model_memory.first, model_memory.rest))
    whole = model_memory.num_first * first + (model.layers - model_memory.num_first) * rest
    if workload.recompute == "full":
        whole = model.layers * workload.seq_len * model.width * model_memory.stream_bytes + max(first, rest)
    logits = workload.seq_len * model.vocab * kernels.logit_bytes + model_memory.last_end.outer
    return {
        "activations": round(workload.batch * (whole + model_memory.first_end.outer) + model_memory.shared_bytes),
        LOGITS: round(workload.batch * logits),
    }
