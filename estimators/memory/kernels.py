"""Kernels: which activations a generation of training software keeps for backward. Facts by software, no fits."""

from __future__ import annotations

from estimators.frozen import frozen

STATISTIC_BYTES = 4
"""Of each token and norm, or token and head: the reciprocal root of an RMS norm, the log-sum-exp of a fused attention."""


@frozen
class Kernels:
    """What one implementation keeps and holds, beside parameters.

    Attributes:
        widened_norm_bytes: per element, of the fp32 copy of its input that an RMS norm written out in Python keeps, beside
            what it normalised; 0 where a kernel keeps the input alone.
        stream_bytes: least bytes per element of the residual stream and the norms: 4 under autocast with fp32 weights.
        copies_inputs: whether every matrix keeps a copy of its own of the input that it shares, as under autocast.
        statistics: whether row statistics are counted (norms, log-sum-exp); the literature leaves them out.
        fused_attention: whether scores stay on the chip; else they are kept, and keys and values repeated for every head.
        widened_scores: whether an unfused softmax runs in fp32 and keeps its result beside the copy in the step's dtype.
        dropout_bytes: per masked element; 0 where nothing is dropped.
        separate_output: whether attention keeps its output apart from the input of the matrix behind it, as
            Transformer Engine does under context parallelism by all-to-all.
        logit_bytes: per token and vocabulary entry, at the peak around the loss.
        dummy_gradients: whether one 16-bit gradient of each shape of matrix is held, since the true one is added to the
            fp32 buffer inside the matrix product.
        keeps_gradients: whether the gradient buffer outlives a step; else gradients come into being as backward frees activations.
        masters: whether fp32 weights are held beside those computed with; else the weights are fp32 and 16-bit copies are made.
        workspace_bytes, expert_workspace_bytes: of matrix libraries, and more where experts run side by side.
    """

    widened_norm_bytes: int = 0
    stream_bytes: int = 0
    copies_inputs: bool = False
    statistics: bool = True
    fused_attention: bool = True
    widened_scores: bool = False
    dropout_bytes: int = 0
    separate_output: bool = False
    logit_bytes: int
    dummy_gradients: bool = False
    keeps_gradients: bool = True
    masters: bool = True
    workspace_bytes: int = 0
    expert_workspace_bytes: int = 0


CLASSIC = Kernels(statistics=False, fused_attention=False, dropout_bytes=1, logit_bytes=4)
"""Megatron-LM of 2020 to 2022: scores, softmax and dropout masks are kept.

Source: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1: 34·s·b·h + 5·a·s²·b bytes per layer, and section 4.3: logits in fp32.
"""

TRANSFORMER_ENGINE = Kernels(
    separate_output=True,
    logit_bytes=2,
    dummy_gradients=True,
    workspace_bytes=2 * 2**25,
    expert_workspace_bytes=4 * 2**25,
)
"""Megatron-Core with Transformer Engine 2: fused norms, activations, attention and cross entropy.

The fused cross entropy writes the gradient over the 16-bit logits. `get_dummy_wgrad` keeps one buffer for each shape of
weight. Matrix workspaces: 32 MiB of PyTorch and 32 MiB of Transformer Engine on Hopper and Blackwell, and four more of
those for grouped matrices.
Source: TransformerEngine, transformer_engine/pytorch/cross_entropy.py and module/base.py (version 2.11).
"""

EAGER = Kernels(widened_norm_bytes=4, logit_bytes=12, keeps_gradients=False, masters=False)
"""transformers 5 in PyTorch, attention by scaled_dot_product_attention.

An RMS norm keeps its input upcast to fp32, and what it normalised; a gated feed-forward keeps gate, activated gate, up and
product. At the start of backward the log-softmax of the logits and two gradients of it are held, in fp32; the logits
themselves are gone, if the caller kept the loss alone.
Source: counted by torch.autograd.graph.saved_tensors_hooks; transformers, modeling_llama.py and loss/loss_utils.py (version 5.23).
"""

AUTOCAST = Kernels(
    widened_norm_bytes=4,
    stream_bytes=4,
    copies_inputs=True,
    widened_scores=True,
    logit_bytes=12,
    keeps_gradients=False,
    masters=False,
)
"""The same under torch.autocast with fp32 weights: an fp32 residual stream, and a copy of its input for every matrix."""

BY_STACK = {
    "megatron-2021": CLASSIC,
    "megatron-2022-bf16": CLASSIC,
    "deepspeed-2021": CLASSIC,
    "pytorch-2023": EAGER,
    "transformers": EAGER,
    "transformers-2023": EAGER,
    "transformers-qlora": EAGER,
    "megatron-core-2025": TRANSFORMER_ENGINE,
    "megatron-core": TRANSFORMER_ENGINE,
    "megatron-core-2026-06": TRANSFORMER_ENGINE,
    "megatron-core-plain": TRANSFORMER_ENGINE,
}
"""Software of stacks.json -> what it keeps."""
