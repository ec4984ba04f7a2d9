"""Kernels: which activations a generation of training software keeps for backward. Facts by software, no fits."""

from __future__ import annotations

from estimators.frozen import frozen

STATISTIC_BYTES = 4
"""Of each token and norm, or token and head: the reciprocal root of an RMS norm, the log-sum-exp of a fused attention."""


@frozen
class Kernels:
    """What one implementation keeps and holds, beside parameters.

    Attributes:
        norm_bytes: per element of a norm's input, kept beside the norm's output.
        widened_norm_bytes: the same in fp32, where a norm written out in Python keeps a copy that is upcast; 0 for none.
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
        masters: whether fp32 weights are held beside those computed with; else the weights are fp32 and copies are made.
        workspace_bytes, expert_workspace_bytes: of matrix libraries, and more where experts run side by side.
    """

    norm_bytes: int
    widened_norm_bytes: int = 0
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


CLASSIC = Kernels(norm_bytes=2, statistics=False, fused_attention=False, dropout_bytes=1, logit_bytes=4)
"""Megatron-LM of 2020 to 2022: scores, softmax and dropout masks are kept.

Source: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1: 34·s·b·h + 5·a·s²·b bytes per layer, and section 4.3: logits in fp32.
"""

TRANSFORMER_ENGINE = Kernels(
    norm_bytes=2,
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

EAGER = Kernels(norm_bytes=2, widened_norm_bytes=4, logit_bytes=14, keeps_gradients=False, masters=False)
"""transformers 5 in PyTorch, attention by scaled_dot_product_attention.

An RMS norm keeps its input upcast to fp32, and what it normalised; a gated feed-forward keeps gate, activated gate, up and
product. At the start of backward the logits (2), their log-softmax (4) and two gradients of it (8) are held.
Source: counted by torch.autograd.graph.saved_tensors_hooks; transformers, modeling_llama.py and loss/loss_utils.py (version 5.23).
"""

BY_STACK = {
    "megatron-2021": CLASSIC,
    "megatron-2022-bf16": CLASSIC,
    "deepspeed-2021": CLASSIC,
    "pytorch-2023": EAGER,
    "transformers": EAGER,
    "megatron-core": TRANSFORMER_ENGINE,
    "megatron-core-plain": TRANSFORMER_ENGINE,
}
"""Software of stacks.json -> what it keeps."""
