"""Latent attention as transformers writes it: projections to the latents, their norms, keys and values made of one of them."""

from __future__ import annotations

from estimators.architectures.block import RMS_NORM
from estimators.architectures.latent_attention import LatentAttention
from estimators.memory.autograd.attention import fused, unfused
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor


def latently_attended(tape: Tape, part: LatentAttention, x: Tensor, t: int, width: int) -> Tensor:
    """Its output over `t` tokens that read `x`. Queries and keys are joined of two parts, so that they lie head by head."""
    queries = _queries(tape, part, x, t)
    down = tape.linear(x, t * (part.kv_rank + part.rope_width), "outer", "kv_down")
    latent = normed(tape, RMS_NORM, tape.view(down, t * part.kv_rank), part.kv_rank)
    both = tape.linear(latent, t * part.heads * (part.nope_width + part.value_width), "inner", "kv_up")
    values = tape.view(both, t * part.heads * part.value_width)
    queries = tape.tensor(queries.elements, tape.weight_size, "inner", by_head=True)
    keys = tape.tensor(queries.elements, tape.weight_size, "inner", by_head=True)
    out = t * part.heads * part.value_width
    if part.qk_width == part.value_width or tape.kernels.unequal_widths:
        if part.chosen_keys:  # a mask of each layer's own
            tape.keep(tape.tensor(t * t, tape.size, "scores", grad=False))
        context = fused(tape, queries, keys, values, part.heads, out, t)
    else:
        context = unfused(tape, part.heads, queries.elements, keys.elements, out, t, t)
    return tape.linear(context, t * width, "outer", "output")


def _queries(tape: Tape, part: LatentAttention, x: Tensor, t: int) -> Tensor:
    if part.query_rank is None:
        return tape.linear(x, t * part.heads * part.qk_width, "inner", "query")
    latent = normed(tape, RMS_NORM, tape.linear(x, t * part.query_rank, "outer", "query_down"), part.query_rank)
    return tape.linear(latent, t * part.heads * part.qk_width, "inner", "query_up")
