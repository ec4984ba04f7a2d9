"""Kernels: which activations a generation of training software keeps for backward. Facts by software, no fits."""

from __future__ import annotations

from typing import Literal

from estimators.frozen import frozen, replace
from estimators.units import DTYPE_BYTES

STATISTIC_BYTES = 4
"""Of each token and norm, or token and head: the reciprocal root of an RMS norm, the log-sum-exp of a fused attention."""

LIVE_PARAMS, PREFETCHED_PARAMS, REDUCED_PARAMS = 10**9, 5 * 10**8, 5 * 10**8
"""Parameters that DeepSpeed's ZeRO-3 keeps gathered, brings ahead of time, and reduces at once; a larger matrix comes whole.

Source: DeepSpeed, docs/_pages/config-json.md: stage3_max_live_parameters, stage3_prefetch_bucket_size, reduce_bucket_size.
"""


@frozen
class Kernels:
    """What one implementation keeps and holds, beside parameters.

    Attributes:
        written_out: whether layers are written in Python, operation by operation, as transformers has them: then what is
            kept is read off a tape of those operations; else norms, activations and gates are one kernel each.
        autocast: whether weights are in fp32, and torch.autocast copies what is multiplied to a lower precision.
        wide_elementwise: whether autocast runs powers, roots, sums, softmax and layer norms in fp32, as on a GPU.
        unequal_widths: whether a fused attention takes values of another width than the keys', as on a GPU.
        stream_bytes: least bytes per element of the residual stream and the norms: 4 under autocast with fp32 weights.
        norm_bytes: per element of the norms' weights; 0 for those of all weights.
        statistics: whether row statistics are counted (norms, log-sum-exp); the literature leaves them out.
        fused_attention: whether scores stay on the chip; else they are kept, and keys and values repeated for every head.
        widened_scores: whether an unfused softmax runs in fp32 and keeps its result beside the copy in the step's dtype.
        dropout_bytes: per masked element; 0 where nothing is dropped.
        separate_output: whether attention keeps its output apart from the input of the matrix behind it, as
            Transformer Engine does under context parallelism by all-to-all.
        logit_bytes: per token and vocabulary entry, at the peak around the loss.
        chunked_loss: whether head and loss run chunk by chunk: of all logits one chunk is there, as large as the head's input.
        quantises_inputs: whether a product below 16 bits keeps its input as it was multiplied, with the scales of its blocks.
        recomputes_latents, recomputes_experts: whether selective recomputation makes the queries, keys and values of latent
            attention again, and all that routed experts keep.
        selective: what selective recomputation keeps, where that is named: ``every second matrix`` or ``projections``, see
            `kept_selectively`; empty where norms and activations are what is made again.
        gathers: how sharded weights come: two ``layers`` at a time, two ``matrices``, or as ``deepspeed`` brings them.
        more_gradient_bytes: per parameter, of 16-bit gradients beside the buffer that they are added to.
        input_bytes: per element of a matrix's input; 0 as it was computed. Set by `under`.
        dummy_gradients: whether one 16-bit gradient of each shape of matrix is held, since the true one is added to the
            fp32 buffer inside the matrix product.
        keeps_gradients: whether the gradient buffer outlives a step; else gradients come into being as backward frees activations.
        masters: whether fp32 weights are held beside those computed with; else the weights are fp32 and 16-bit copies are made.
        workspace_bytes, expert_workspace_bytes: of matrix libraries, and more where experts run side by side.
    """

    written_out: bool = False
    autocast: bool = False
    wide_elementwise: bool = False
    unequal_widths: bool = True
    stream_bytes: int = 0
    norm_bytes: int = 0
    statistics: bool = True
    fused_attention: bool = True
    widened_scores: bool = False
    dropout_bytes: int = 0
    separate_output: bool = False
    logit_bytes: int
    chunked_loss: bool = False
    quantises_inputs: bool = False
    recomputes_latents: bool = False
    recomputes_experts: bool = False
    selective: Literal["", "every second matrix", "projections"] = ""
    gathers: Literal["layers", "matrices", "deepspeed"] = "layers"
    more_gradient_bytes: int = 0
    input_bytes: float = 0.0
    dummy_gradients: bool = False
    keeps_gradients: bool = True
    masters: bool = True
    workspace_bytes: int = 0
    expert_workspace_bytes: int = 0

    def under(self, dtype: str) -> Kernels:
        """The same where products run in `dtype`.

        >>> TRANSFORMER_ENGINE.under("fp8").input_bytes, TRANSFORMER_ENGINE.under("bf16").input_bytes
        (1.0, 0.0)
        """
        size = DTYPE_BYTES.get(dtype, 2)
        return replace(self, input_bytes=float(size)) if self.quantises_inputs and size < 2 else self

    def input_size(self, size: int) -> float:
        """Bytes per element of a matrix's input, of `size` bytes where it is kept as it was computed."""
        return self.input_bytes or size


CLASSIC = Kernels(statistics=False, fused_attention=False, dropout_bytes=1, logit_bytes=4)
"""Megatron-LM of 2020 to 2022: scores, softmax and dropout masks are kept.

Source: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1: 34·s·b·h + 5·a·s²·b bytes per layer, and section 4.3: logits in fp32.
"""

DEEPSPEED_CLASSIC = replace(CLASSIC, gathers="deepspeed")
"""The same under DeepSpeed's ZeRO-3, without tensor or pipeline parallelism."""

CLASSIC_BF16 = replace(CLASSIC, more_gradient_bytes=2)
"""CLASSIC with DeepSpeed's BF16 optimizer of 2022: gradients are added up in fp32, beside the 16-bit ones that backward makes.

Source: BLOOM's tuning log (bigscience, train/tr11-176B-ml/chronicles-prequel.md, Rebalancing layers): 4 bytes per parameter more
than in fp16, which adds up in fp16; 72 GB in place of 55 GB with 184 B parameters over tp=8, pp=6.
"""

TRANSFORMER_ENGINE = Kernels(
    separate_output=True,
    logit_bytes=2,
    quantises_inputs=True,
    recomputes_latents=True,
    dummy_gradients=True,
    workspace_bytes=2 * 2**25,
    expert_workspace_bytes=4 * 2**25,
)
"""Megatron-Core with Transformer Engine 2: fused norms, activations, attention and cross entropy.

What a product below 16 bits keeps for the gradient of its weights is its quantised input (module/layernorm_linear.py, linear.py).
The fused cross entropy writes the gradient over the 16-bit logits. `get_dummy_wgrad` keeps one buffer for each shape of
weight. In 8 bits weights are held as both products read them, a byte each, which is what 16 bits take. Selective recomputation
is norms, activations and the up-projections of latent attention. Matrix workspaces: 32 MiB of PyTorch and 32 MiB of
Transformer Engine on Hopper and Blackwell, and four more of those for grouped matrices.
Source: TransformerEngine, transformer_engine/pytorch/cross_entropy.py and module/base.py (version 2.11); Megatron-Core,
transformer_config.py (recompute_modules: layernorm, moe_act, mla_up_proj; version 0.14).
"""

TRANSFORMER_ENGINE_MOE = replace(TRANSFORMER_ENGINE, recomputes_experts=True)
"""The same with `moe` among the recomputed modules."""

FOUNDRY = Kernels(logit_bytes=4, keeps_gradients=False, masters=False)
"""llm-foundry's MPT of 2023 under FSDP in bf16: norms in low precision, GELU in one kernel, Triton's flash attention.

flash-attn's fused cross entropy takes the 16-bit logits and writes a 16-bit gradient beside them: two bytes each.
Source: llm-foundry, llmfoundry/models/mpt/modeling_mpt.py (loss_fn fused_crossentropy), layers/norm.py and ffn.py (version 0.3);
flash-attention, flash_attn/losses/cross_entropy.py (version 1.0).
"""

INTERNLM = Kernels(written_out=True, logit_bytes=6, keeps_gradients=False)
"""InternLM's trainer of 2023: 16-bit weights and gradients, fp32 weights shared out with the optimizer; norms of inputs cast to fp32,
gate and product of the feed-forward in Python, logits cast to fp32, over which the fused loss writes their gradient.

Source: InternLM, internlm/model/modeling_internlm.py, linear.py, loss.py, solver/optimizer/hybrid_zero_optim.py (version 0.2).
"""

LIGER = Kernels(logit_bytes=6, chunked_loss=True, gathers="deepspeed", keeps_gradients=False)
"""transformers with Liger's kernels under DeepSpeed's ZeRO: norms keep their input, gate and up are kept and their product, head and
loss run in chunks; of a chunk there are 16-bit logits, and 4 bytes while the loss is made.

Source: Liger-Kernel, src/liger_kernel/ops/fused_linear_cross_entropy.py, rms_norm.py and swiglu.py (version 0.6).
"""

TITAN = Kernels(logit_bytes=14, selective="every second matrix", keeps_gradients=False, masters=False)
"""torchtitan under FSDP2, layers compiled: norms, activations and gates are one kernel each.

Its selective recomputation keeps the outputs of attention, of reduce-scatters and of every second matrix product. The loss is
made in fp32 of 16-bit logits, which are there beside the log-softmax and two gradients of it; tensor parallelism shares them out.
Source: torchtitan, torchtitan/models/llama3/parallelize_llama.py (_save_list) and components/loss.py (version 0.1); its measured
memory: benchmarks/llama3_h100_202412_torchtitan.md.
"""

MAXTEXT = Kernels(logit_bytes=4, selective="projections", gathers="matrices", keeps_gradients=False, masters=False)
"""MaxText in JAX: a scan over layers that XLA compiles, fp32 weights sharded and gathered matrix by matrix in 16 bits.

Of the custom policies, which name what is kept and what goes to the host, queries, keys and values are the common part. The loss is
fused between the 16-bit logits and their gradient.
Source: MaxText, src/MaxText/layers/decoders.py (get_remat_policy) and max_utils.py (cross_entropy_with_logits).
"""

EAGER = Kernels(written_out=True, logit_bytes=12, keeps_gradients=False, masters=False)
"""transformers 5 in PyTorch, attention by scaled_dot_product_attention, no kernels from the hub.

An RMS norm keeps its input upcast to fp32, and what it normalised; a gated feed-forward keeps gate, activated gate, up and
product. At the start of backward the log-softmax of the logits and two gradients of it are held, in fp32; the logits
themselves are gone, if the caller kept the loss alone.
Source: counted by torch.autograd.graph.saved_tensors_hooks; transformers, models/ and loss/loss_utils.py (version 5.24).
"""

TITAN_EAGER = replace(EAGER, logit_bytes=16, selective=TITAN.selective)
"""torchtitan without torch.compile: layers operation by operation, and one more 16-bit gradient of the logits."""

DEEPSPEED_EAGER = replace(EAGER, masters=True, gathers="deepspeed")
"""EAGER under DeepSpeed's ZeRO: 16-bit weights, fp32 ones shared out with the optimizer."""

AUTOCAST = replace(EAGER, autocast=True, widened_scores=True, stream_bytes=4)
"""EAGER under torch.autocast with fp32 weights: an fp32 residual stream, and a copy of its input for every matrix.

Elementwise work as the CPU's autocast runs it, which is what the saved-tensor hook was asked about.
"""

AUTOCAST_ON_GPU = replace(AUTOCAST, wide_elementwise=True)
"""The same by a GPU's list of operations that run in fp32, which can only add: read off the list, not measured.

Source: torch, aten/src/ATen/autocast_mode.h, AT_FORALL_FP32 (version 2.13).
"""

BY_STACK = {
    "megatron-2021": CLASSIC,
    "megatron-2022-bf16": CLASSIC_BF16,
    "deepspeed-2021": DEEPSPEED_CLASSIC,
    "pytorch-2023": FOUNDRY,
    "pytorch-fsdp2": TITAN,
    "maxtext": MAXTEXT,
    "internlm-2023": INTERNLM,
    "deepspeed-liger": LIGER,
    "transformers": EAGER,
    "pytorch-fsdp2-eager": TITAN_EAGER,
    "pytorch-fsdp2-async-tp": TITAN,
    "pytorch-fsdp2-rowwise": TITAN,
    "pytorch-fsdp2-async-tp-rowwise": TITAN,
    "deepspeed-zero": DEEPSPEED_EAGER,
    "transformers-2023": DEEPSPEED_EAGER,
    "transformers-qlora": DEEPSPEED_EAGER,
    "megatron-core-2025": TRANSFORMER_ENGINE,
    "megatron-core": TRANSFORMER_ENGINE,
    "megatron-core-2026-06": TRANSFORMER_ENGINE,
    "deepseek-2024": TRANSFORMER_ENGINE,
    "megatron-core-plain": TRANSFORMER_ENGINE,
    "megatron-core-moe": TRANSFORMER_ENGINE_MOE,
}
"""Software of stacks.json -> what it keeps."""
