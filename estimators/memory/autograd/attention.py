"""Attention as transformers writes it: what its projections, norms, rotation and scores keep."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Norm
from estimators.frozen import replace
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor


def attended(
    tape: Tape, part: Attention, x: Tensor, t: int, width: int, source: Tensor | None = None, source_tokens: int = 0, seen: int = 0
) -> Tensor:
    """The output of an attention over `t` tokens that read `x`.

    Args:
        source, source_tokens: what keys and values are made of, where that is not `x`.
        seen: keys that a query meets, where those are not all there are.
    """
    s = source_tokens or t
    queries, keys, values = _projected(tape, part, x, t, source or x, s)
    if part.value_norm and not part.reads_earlier:
        values = normed(tape, Norm(gain=False, written=part.qk_norm_form), values, part.head_width)
    if part.qk_norm_first:
        queries, keys = _normed(tape, part, queries, keys)
    if part.rotary:
        if part.angle_elements:
            size = 4 if part.wide_angles else tape.weight_size
            tape.keep(tape.tensor(t * part.angle_elements, size, "once", grad=False))
        queries, keys = _turned(tape, queries), keys if part.reads_earlier else _turned(tape, keys)
    if not part.qk_norm_first:
        queries, keys = _normed(tape, part, queries, keys)
    queries, keys = (replace(each, by_head=part.by_head) for each in (queries, keys))
    context = scored(tape, part, queries, keys, values, t, seen or s)
    if part.output_gate:
        context = tape.mul(context, tape.of_result(tape.like(context)))
    if part.context_norm:
        context = normed(tape, RMS_NORM, context, part.inner_width)
    return tape.linear(context, t * width, "outer", "output")


def _projected(tape: Tape, part: Attention, x: Tensor, t: int, source: Tensor, s: int) -> tuple[Tensor, Tensor, Tensor]:
    q, kv = part.inner_width, part.kv_heads * part.head_width
    if part.fused:
        joined = tape.linear(x, t * (q + 2 * kv), "inner", "query_key_value")
        return tape.view(joined, t * q), tape.view(joined, s * kv), tape.view(joined, s * kv)
    if part.scores == "handed_out" and not part.cross:  # it reads token by token of the whole batch, so that each matrix copies its input
        each = (tape.linear(tape.like(x), t * size, "inner", role) for role, size in (("query", q), ("key", kv), ("value", kv)))
        queries, keys, values = each
        return queries, keys, values
    queries = tape.linear(x, t * q * (2 if part.output_gate else 1), "inner", "query")
    if part.reads_earlier:
        turned = tape.given(s * kv, max(tape.size, tape.weight_size) if part.rotary else tape.size)
        return tape.view(queries, t * q), turned, tape.given(s * kv, tape.size)
    if part.keys_are_values:
        keys = tape.linear(source, s * kv, "inner", "key")
        return tape.view(queries, t * q), keys, keys
    return tape.view(queries, t * q), tape.linear(source, s * kv, "inner", "key"), tape.linear(source, s * kv, "inner", "value")


def _normed(tape: Tape, part: Attention, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    norm = Norm(gain=part.qk_norm_params, bias=part.qk_norm_bias, written=part.qk_norm_form)
    widths = [part.head_width if width and part.qk_norm_by_head else width for width in (part.query_norm_width, part.key_norm_width)]
    return (
        normed(tape, norm, queries, widths[0]) if widths[0] else queries,
        normed(tape, norm, keys, widths[1]) if widths[1] and not part.reads_earlier else keys,
    )


def _turned(tape: Tape, x: Tensor) -> Tensor:
    """x·cos + rotated(x)·sin: of its gradient the angles are all that is kept, and those are no layer's own."""
    return tape.like(x, size=max(x.size, tape.weight_size))


def scored(tape: Tape, part: Attention, queries: Tensor, keys: Tensor, values: Tensor, t: int, s: int) -> Tensor:
    """The heads' outputs side by side, in the way that transformers runs this attention."""
    if part.scores in ("handed_out", "written_out") or not tape.kernels.fused_attention:
        return _written_out(tape, part, queries, keys, values, t, s)
    if part.scores in ("biased", "unfused"):
        if part.scores == "biased" and part.causal:
            tape.index(t * s, "once", size=1)  # where the bias is, and where what comes later is masked
        of_all_heads = keys.elements // part.kv_heads * part.heads
        return unfused(tape, part.heads, queries.elements, of_all_heads, of_all_heads, t, s)
    out = part.heads * part.head_width
    masked = part.mask_heads or int(part.window is not None and part.window < s)
    if masked:
        tape.keep(tape.tensor(masked * t * s, tape.size, "scores", grad=False))
    if (masked or part.repeats_keys) and part.kv_heads < part.heads:
        keys, values = (tape.tensor(part.heads * s * part.head_width, tape.size, "inner") for _ in range(2))
    return fused(tape, queries, keys, values, part.heads, t * out, t)


def fused(tape: Tape, queries: Tensor, keys: Tensor, values: Tensor, heads: int, elements: int, t: int) -> Tensor:
    """scaled_dot_product_attention in one kernel: its three inputs, its output as the queries lie, and a number per row."""
    queries, keys, values = (tape.low(each) for each in (queries, keys, values))
    out = tape.tensor(elements, queries.size, "inner", by_head=queries.by_head)
    tape.keep(queries, keys, values, out, tape.tensor(heads * t, 4, "inner"))
    return tape.joined_heads(out)


def unfused(tape: Tape, heads: int, queries: int, keys: int, values: int, t: int, s: int) -> Tensor:
    """The same where no kernel fits: in fp32, with the probabilities of every pair.

    Args:
        queries, keys, values: elements of what it reads, every head with its own.
        s: keys that each of the `t` queries meets.
    """
    for elements in (queries, keys, values):
        tape.keep(tape.tensor(elements, 4, "inner"))
    tape.keep(tape.tensor(heads * t * s, 4, "scores"))
    return tape.tensor(queries * values // keys, tape.size, "inner")


def _written_out(tape: Tape, part: Attention, queries: Tensor, keys: Tensor, values: Tensor, t: int, s: int) -> Tensor:
    """Scores, a softmax and the product with the values, one after the other."""
    of_all_heads = part.heads * s * part.head_width
    product = 4 if part.wide_products and not tape.multiplies_low else tape.size
    sizes = (product, product, tape.size)
    counts = (queries.elements, of_all_heads, of_all_heads)
    reads = [tape.tensor(elements, size, "inner") for elements, size in zip(counts, sizes, strict=True)]
    scores = replace(tape.matmul(reads[0], reads[1], part.heads * t * s, "scores"), size=product)
    if part.capped:
        scores = tape.of_result(scores)
    if part.sinks:
        tape.index(part.heads * t, "scores")
        scores = tape.like(scores, elements=part.heads * t * (s + 1))
    wide = 4 if part.scores == "written_out" or (tape.kernels.widened_scores and part.scores != "handed_out") else scores.size
    if part.sinks:  # a softmax in the dtype of what it reads, sinks among them
        wide = max(scores.size, tape.weight_size)
    probabilities = tape.softmax(tape.cast(scores, wide))
    if part.sinks:
        probabilities = tape.view(probabilities, part.heads * t * s)
    if tape.kernels.dropout_bytes:
        tape.index(part.heads * t * s, "scores", size=tape.kernels.dropout_bytes)
        probabilities = tape.like(probabilities)
    return tape.matmul(tape.cast(probabilities, tape.size), reads[2], t * part.inner_width, "inner")
