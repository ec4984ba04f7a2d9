"""What an engine keeps free beside weights and cache: activations of its largest step, the sampler's, and what lies outside of torch."""

from __future__ import annotations

import functools

from estimators.architectures.block import Block
from estimators.architectures.decoder import Decoder
from estimators.frozen import frozen
from estimators.serving.deployment import Deployment
from estimators.spec import Workload
from estimators.units import GIBI

SAMPLER_COPIES, SAMPLER_LOW, SAMPLER_HIGH = 9.7, 8.0, 10.0
"""Copies of the logits of all sequences in flight, in fp32, that vLLM's profile of its sampler holds at once: sorted values, their
64-bit places, sums, draws; and the least and the most that measured start-ups have.

Source: the rows of serving_memory.csv, 4.76 GiB for 1,024 sequences of 128,256 logits, 7.38 GiB for 201,088, 1.19 GiB for 256.
"""

PLAIN_COPIES, PLAIN_COPIES_HIGH = 2.0, 10.0
"""The same of engines whose start-up was not looked at: logits and probabilities; an assumption."""

STREAM_PLANES = 3
"""Planes of model width that stand beside a layer's own: the residual, a norm's output, a part's output."""

OUTSIDE_BYTES, OUTSIDE_SEVERAL_BYTES = 0.13 * GIBI, 0.54 * GIBI
"""Outside of torch's allocator, on one device and with others beside it (collectives' buffers). Source: serving_memory.csv."""

OUTSIDE_HIGH_BYTES, OUTSIDE_SEVERAL_HIGH_BYTES = 0.6 * GIBI, 2.0 * GIBI
"""The most of the same that a start-up may show."""

UNSHOWN_SHARE = 0.02
"""Of a device's memory, by how much what an engine sees may be less than what the driver shows. Source: an RTX 4090 of 25,756 MB shows
25,250 MB, an RTX 3090 of 24 GiB shows 23.58."""


@frozen
class Beside:
    """Bytes of one device beside weights and cache: as expected, and from the least to the most.

    Attributes:
        activations_bytes: of the largest step or of the sampler, whichever is more.
        outside_bytes: outside of the allocator.
        low_bytes, high_bytes: of both together.
    """

    activations_bytes: float
    outside_bytes: float
    low_bytes: float
    high_bytes: float


def beside(d: Deployment, vocab: int, token_bytes: float) -> Beside:
    """What a device of the deployment needs beside weights and cache.

    Args:
        vocab: logits of a token.
        token_bytes: activations of one token of a step, see `step_bytes_per_token`.
    """
    forward, logits = d.tokens_a_step * token_bytes, 4.0 * d.sequences_at_most * vocab
    profiled = d.engine.engine == "vllm"
    copies, least, most = (SAMPLER_COPIES, SAMPLER_LOW, SAMPLER_HIGH) if profiled else (PLAIN_COPIES, 0.0, PLAIN_COPIES_HIGH)
    several = d.num_devices > 1
    outside = OUTSIDE_SEVERAL_BYTES if several else OUTSIDE_BYTES
    return Beside(
        activations_bytes=max(forward, copies * logits),
        outside_bytes=outside,
        low_bytes=max(forward, least * logits),
        high_bytes=max(1.15 * forward, most * logits) + (OUTSIDE_SEVERAL_HIGH_BYTES if several else OUTSIDE_HIGH_BYTES),
    )


@functools.lru_cache(maxsize=1024)
def step_bytes_per_token(model: Decoder, tp: int = 1, size: float = 2) -> float:
    """Activations that one token of a step has at the fullest moment of a layer, on one of `tp` ranks.

    Llama 3.1 8B: 3 x 14,336 values of the feed-forward and 3 x 4,096 beside them. vLLM printed 0.92 GiB more for 9,000 tokens more:

    >>> from estimators.validation.model import shipped_model
    >>> step_bytes_per_token(shipped_model("llama-3.1-8b")), round(9000 * 110592 / 2**30, 2)
    (110592.0, 0.93)

    Source: vllm-project/vllm issue 10517, peaks of 17.06 and 17.98 GiB at 20,000 and 29,000 tokens.
    """
    inner = max((_inner_elements(block, model.width, tp) for block in model.blocks), default=0.0)
    return size * (STREAM_PLANES * model.width + inner)


def _inner_elements(block: Block, width: int, tp: int) -> float:
    """Elements inside the fullest part of a layer: outputs of matrices that are cut by them, and inputs of those that are cut by those."""
    parts: dict[str, float] = {}
    for op in block.ops(Workload(phase="prefill"), width):
        if op.kind != "matmul" or not op.mnk or op.cut == "whole":
            continue
        _, n, k = op.mnk
        by_inputs = op.cut in ("rows", "expert_rows")
        elements = (k + (width * tp if op.cut == "expert_rows" else 0)) if by_inputs else n
        parts[op.part] = parts.get(op.part, 0.0) + op.matrices_per_token * elements / tp
    return max(parts.values(), default=0.0)
