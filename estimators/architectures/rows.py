"""Constructors of op-table rows: what one linear layer, attention product, norm or lookup costs.

Shape letters: B batch, T tokens this step, S keys attended to, D model width, F feed-forward width, N heads,
K key-value heads, H head width, V vocabulary, L layers.
"""

from __future__ import annotations

from estimators.spec import Op, Workload


def linear(
    workload: Workload,
    name: str,
    component: str,
    *,
    d_in: int,
    d_out: int,
    bias: bool = False,
    rows: int | None = None,
    count: int = 1,
    owned: bool = True,
    input_grad: bool = True,
    recomputed: bool = False,
) -> Op:
    """A weight matrix (d_in x d_out) applied to `rows` vectors: 2·rows·d_in·d_out FLOP.

    Backward is two products of the same size, one for the weight's gradient and one for the input's; the first
    layer of a network needs no input gradient. A bias costs no FLOP under the project's convention.

    Args:
        rows: vectors in the step; all tokens of the step unless given.
        owned: False for a tied weight that another op owns.
        input_grad: False where the input is data.

    >>> linear(Workload(seq_len=10), "fc", "mlp", d_in=3, d_out=4, bias=True).flop
    240
    """
    m = workload.num_tokens if rows is None else rows
    flop = 2 * m * d_in * d_out
    weights = d_in * d_out + (d_out if bias else 0)
    return Op(
        name=name,
        component=component,
        kind="matmul",
        count=count,
        params=weights if owned else 0,
        flop=flop,
        backward_flop=2 * flop if input_grad else flop,
        weight_bytes=weights * workload.dtype_bytes,
        activation_bytes=m * (d_in + d_out) * workload.dtype_bytes,
        saved_bytes=m * d_in * workload.dtype_bytes,
        recomputed=recomputed,
        mnk=(m, d_out, d_in),
    )


def attended_keys(workload: Workload, window: int | None) -> int:
    """S: keys that the step's queries are multiplied with, as an unmasked kernel runs it.

    A sliding-window cache holds the last window - 1 tokens beside the step's own.

    >>> attended_keys(Workload(phase="decode", context_len=512), None)
    513
    """
    cached = workload.context_len if window is None else min(workload.context_len, window - 1)
    return cached + workload.seq_len


def visible_pairs(workload: Workload, window: int | None) -> int:
    """Query-key pairs of one sequence that a causal (and windowed) mask lets through.

    Query i of T, after C cached tokens, sees min(C + i + 1, window) keys.

    >>> visible_pairs(Workload(seq_len=4), None)
    10
    """
    t, c = workload.seq_len, workload.context_len
    everything = t * c + t * (t + 1) // 2
    if window is None or c + t <= window:
        return everything
    growing = max(0, min(t, window - c))  # queries that still see all their past
    return growing * c + growing * (growing + 1) // 2 + (t - growing) * window


def attention_products(
    workload: Workload,
    prefix: str,
    *,
    heads: int,
    qk_width: int,
    v_width: int,
    cache_elements_per_token: int,
    causal: bool = True,
    window: int | None = None,
    keys: int | None = None,
    count: int = 1,
    recomputed: bool = True,
) -> tuple[Op, Op]:
    """The two products of activations: scores (T x S x qk_width) and context (T x S x v_width), per head.

    Args:
        cache_elements_per_token: elements that one token leaves in one layer's KV cache.
        window: keys that a query may see at most, itself included.
        keys: S where it is not the step's own past (cross-attention).
    """
    s = attended_keys(workload, window) if keys is None else keys
    b, t = workload.batch, workload.seq_len
    square = t * t if causal and workload.phase != "decode" else 0
    masked = t * s - visible_pairs(workload, window) if causal else 0
    if workload.phase in ("prefill", "decode"):
        tokens_moved = s if workload.phase == "decode" else t
        cache_bytes = b * tokens_moved * cache_elements_per_token * workload.dtype_bytes
    else:
        cache_bytes = 0

    def product(name: str, width: int, cache: int) -> Op:
        flop = 2 * b * heads * t * s * width
        return Op(
            name=f"{prefix}.{name}",
            component="attention",
            kind="attention",
            count=count,
            flop=flop,
            backward_flop=2 * flop,
            square_flop=2 * b * heads * square * width,
            masked_flop=2 * b * heads * masked * width,
            cache_bytes=cache,
            activation_bytes=b * heads * (t * s + (t + s) * width) * workload.dtype_bytes,
            saved_bytes=b * heads * (t * s + t * width) * workload.dtype_bytes,
            recomputed=recomputed,
            mnk=(t, s, width) if name == "scores" else (t, width, s),
        )

    return product("scores", qk_width, cache_bytes), product("context", v_width, 0)


def norm(
    workload: Workload,
    name: str,
    *,
    width: int,
    bias: bool,
    gain: bool = True,
    component: str = "norm",
    rows: int | None = None,
    count: int = 1,
    recomputed: bool = True,
) -> Op:
    """A layer norm (gain and bias), RMS norm (gain) or bare norm: parameters and bytes; no FLOP under the convention."""
    m = workload.num_tokens if rows is None else rows
    params = width * (gain + bias)
    return Op(
        name=name,
        component=component,
        kind="norm",
        count=count,
        params=params,
        weight_bytes=params * workload.dtype_bytes,
        activation_bytes=2 * m * width * workload.dtype_bytes,
        saved_bytes=m * width * workload.dtype_bytes,
        recomputed=recomputed,
    )


def lookup(workload: Workload, name: str, *, num_rows: int, width: int, component: str = "embedding") -> Op:
    """A table of `num_rows` vectors, read by index: parameters, one row that must move at least, no FLOP."""
    return Op(
        name=name,
        component=component,
        kind="lookup",
        params=num_rows * width,
        weight_bytes=width * workload.dtype_bytes,
        activation_bytes=2 * workload.num_tokens * width * workload.dtype_bytes,
    )


def elementwise(
    workload: Workload,
    name: str,
    component: str,
    *,
    width: int,
    reads: int = 1,
    count: int = 1,
    recomputed: bool = True,
    saved: bool = True,
) -> Op:
    """An operation on each element (activation function, residual add, rotary embedding): bytes only."""
    plane = workload.num_tokens * width * workload.dtype_bytes
    return Op(
        name=name,
        component=component,
        kind="elementwise",
        count=count,
        activation_bytes=plane * (reads + 1),
        saved_bytes=plane if saved else 0,
        recomputed=recomputed,
    )


def checkpoint(workload: Workload, name: str, *, width: int, count: int) -> Op:
    """The input that full activation checkpointing keeps of each layer, to run it forward again."""
    return Op(
        name=name,
        component="elementwise",
        kind="checkpoint",
        count=count,
        saved_bytes=workload.num_tokens * width * workload.dtype_bytes,
    )


def parameters(workload: Workload, name: str, component: str, *, num: int, count: int = 1) -> Op:
    """Parameters that take part in no matrix product and no norm, such as attention sinks or a class token."""
    return Op(
        name=name,
        component=component,
        kind="elementwise",
        count=count,
        params=num,
        weight_bytes=num * workload.dtype_bytes,
        recomputed=True,
    )
