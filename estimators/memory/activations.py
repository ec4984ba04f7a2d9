"""What the parts of a layer keep for backward where norms, activations and gates are one kernel each: bytes of one sequence."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.compressed_attention import CompressedAttention
from estimators.architectures.connections import Connections
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.hyper_connections import HyperConnections
from estimators.architectures.latent_attention import LatentAttention
from estimators.architectures.part import Part
from estimators.architectures.shared_transformer import SharedTransformer
from estimators.memory.kernels import STATISTIC_BYTES, Kernels
from estimators.memory.saved import SavedActivations
from estimators.spec import Workload


def norm_kept(width: int, rms: bool, tokens: float, k: Kernels, size: int) -> SavedActivations:
    """A norm beside its output: its input, and statistics of each row."""
    statistics = (STATISTIC_BYTES if rms else 2 * size) * k.statistics
    return SavedActivations(outer=tokens * (width * size + statistics))


def part_kept(part: Part, width: int, t: int, k: Kernels, size: int) -> tuple[SavedActivations, SavedActivations, SavedActivations]:
    """Of one part of a layer: kept, what of it is cheap to recompute, gradients held at once on the way back."""
    if isinstance(part, Attention):
        kv_heads = part.kv_heads if k.fused_attention else part.heads
        elements = part.inner_width + 2 * kv_heads * part.head_width * (not part.reads_earlier or not k.fused_attention)
        keys = 0 if part.reads_earlier else part.kv_heads * part.head_width
        kept = _attention(part.heads, elements, part.inner_width, t, k, size)
        kept += SavedActivations(keys=float(t * 2 * keys * size * k.fused_attention))
        for norm_width, total in ((part.query_norm_width, part.inner_width), (part.key_norm_width, keys)):
            if norm_width and total:  # behind it positions turn what it made, which is not kept
                normed = norm_kept(norm_width, not part.qk_norm_bias, t * total / norm_width, k, size).outer
                kept += SavedActivations(inner=normed, keys=normed if total == keys else 0.0)
        return kept, SavedActivations(), SavedActivations()
    if isinstance(part, LatentAttention):
        queries, values = part.heads * part.qk_width, part.heads * part.value_width
        ranks = [rank for rank in (part.query_rank, part.kv_rank) if rank]
        latents = SavedActivations(outer=t * part.rope_width * size)
        for rank in ranks:
            latents += norm_kept(rank, True, t, k, size) + SavedActivations(outer=t * rank * k.input_size(size))
        again = SavedActivations(inner=float(t * (2 * queries + values) * size)) if k.recomputes_latents else SavedActivations()
        return _attention(part.heads, 2 * queries + values, values, t, k, size) + latents, again, SavedActivations()
    if isinstance(part, CompressedAttention):
        return _compressed(part, t, k, size), SavedActivations(), SavedActivations()
    if isinstance(part, FeedForward):
        planes, cheap, back = _feed_forward(part.width, part.gated, t, k, size)
        return SavedActivations(inner=planes), SavedActivations(inner=cheap), SavedActivations(inner=back)
    if isinstance(part, Experts):
        rows = t * part.per_token
        planes, cheap, back = _feed_forward(part.width, part.gated, rows, k, size)
        edge = part.latent or width
        stream, gradient = rows * edge * k.input_size(size), float(rows * edge * size)
        router = t * part.num * 4.0 * 2  # logits and probabilities, fp32
        latent = t * (part.latent or 0) * k.input_size(size)
        more = [
            SavedActivations(routed=planes + stream, outer=router + latent),
            SavedActivations(routed=planes + stream if k.recomputes_experts else cheap),
            SavedActivations(routed=back + gradient),
        ]
        if part.apart:
            more[0] += norm_kept(width, True, t, k, size).times(3)
        if part.shared:
            more = [a + b for a, b in zip(more, part_kept(part.shared, width, t, k, size), strict=True)]
        return more[0], more[1], more[2]
    rows_of_part = [
        op for op in part.ops(Workload(phase="train", seq_len=t), width, "part", 1) if op.kind != "scan" or not k.fused_attention
    ]
    return (
        SavedActivations(inner=float(sum(op.count * op.saved_bytes for op in rows_of_part)) * size / 2),
        SavedActivations(),
        SavedActivations(),
    )


def connections_kept(around: Connections, parts: int, width: int, t: int, size: int) -> SavedActivations:
    """Around a layer of so many parts: the streams that are read and mixed, what is added to them, and the weights of both.

    Around each part its output beside the streams, and weights in fp32; around a whole layer what is added to every stream.
    """
    if isinstance(around, HyperConnections):
        return SavedActivations(outer=float(parts * t * ((around.streams + 1) * width * size + 4 * around.weights)))
    return SavedActivations(outer=float(t * 2 * around.streams * width * size))


def beside_shared(part: SharedTransformer, width: int, t: int, k: Kernels, size: int) -> SavedActivations:
    """Of a transformer that layers share, beside its attention and feed-forward: norms, what matrices read, and what is of low rank."""
    norms = norm_kept(2 * width, True, t, k, size) + norm_kept(width, True, t, k, size)
    ranks = part.rank * (1 + 3 * part.adapts_attention)
    return norms + SavedActivations(outer=float(t * (4 * width + ranks) * k.input_size(size)))


def _compressed(part: CompressedAttention, t: int, k: Kernels, size: int) -> SavedActivations:
    """Queries of a latent, one key and value of each token and entry, keys and gates that entries are made of, the output's middle."""
    queries, keys = part.heads * part.head_width, part.head_width
    columns = 2 * part.compressor.columns if part.compressor else 0
    entries = part.head_width / part.compressor.rate if part.compressor else 0.0
    kept = _attention(part.heads, queries, queries, t, k, size)
    kept += norm_kept(part.query_rank, True, t, k, size) + norm_kept(keys, True, t, k, size)
    kept += SavedActivations(outer=t * (part.query_rank * k.input_size(size) + (keys + columns + entries) * size))
    return kept + SavedActivations(inner=float(t * (queries * size + part.groups * part.group_rank * k.input_size(size))))


def _attention(heads: int, elements: int, out: int, t: int, k: Kernels, size: int) -> SavedActivations:
    """Queries, keys and values, the input of the output matrix, and what the kernel keeps between them."""
    statistics = STATISTIC_BYTES * heads * k.statistics * k.fused_attention
    copy = out * k.input_bytes if k.fused_attention else 0  # the kernel keeps its output as it made it
    inner = float(t * ((elements + out) * size + copy + statistics))
    if k.fused_attention:
        return SavedActivations(inner=inner, apart=float(t * out * size * k.separate_output))
    softmax = 4 if k.widened_scores else size
    result = (k.dropout_bytes + size) if k.dropout_bytes else size if softmax > size else 0
    return SavedActivations(inner=inner, scores=float(heads) * t * t * (softmax + result))


def _feed_forward(width: int, gated: bool, rows: int, k: Kernels, size: int) -> tuple[float, float, float]:
    """Inputs of the activation and of the matrix behind it; written out in Python the activated gate as well."""
    eager_gate = 1 if gated and k.written_out else 0
    halves = 2 if gated else 1
    activated, product = float(rows * width * size), rows * width * k.input_size(size)
    return activated * (halves + eager_gate) + product, k.fused_attention * (activated * eager_gate + product), activated * halves
