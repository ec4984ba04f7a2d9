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
    reads: tuple[str, ...] = (),
) -> Op:
    """A weight matrix (d_in x d_out) applied to `rows` vectors: 2·rows·d_in·d_out FLOP.

    Backward is two products of the same size, one for the weight's gradient and one for the input's; the first
    layer of a network needs no input gradient. A bias costs no FLOP under the project's convention.

    Args:
        rows: vectors in the step; all tokens of the step unless given. With 0 of them the weight is not even read.
        owned: False for a tied weight that another op owns; a bias is always its own.
        input_grad: False where the input is data.
        reads: rows whose outputs it multiplies; empty for the input of its part of the layer.

    >>> linear(Workload(seq_len=10), "fc", "mlp", d_in=3, d_out=4, bias=True).flop
    240
    """
    m = workload.num_tokens if rows is None else rows
    flop = 2 * m * d_in * d_out
    own = d_out if bias else 0
    weights = d_in * d_out + own
    return Op(
        name=name,
        component=component,
        kind="matmul",
        count=count,
        params=weights if owned else own,
        flop=flop,
        backward_flop=2 * flop if input_grad else flop,
        weight_bytes=weights * workload.dtype_bytes if m else 0,
        activation_bytes=m * (d_in + d_out) * workload.dtype_bytes,
        saved_bytes=m * d_in * workload.dtype_bytes,
        recomputed=recomputed,
        mnk=(m, d_out, d_in),
        reads=reads,
    )


def convolution(
    workload: Workload,
    name: str,
    component: str,
    *,
    channels_in: int,
    channels_out: int,
    taps: int,
    in_positions: int,
    out_positions: int,
    groups: int = 1,
    bias: bool = False,
    count: int = 1,
    input_grad: bool = True,
    recomputed: bool = False,
) -> Op:
    """A filter of `taps` positions moved over an image or a signal: 2·B·out_positions·C_out·(C_in/groups)·taps FLOP.

    Padding is multiplied like any other input. Backward is one such product for the weight's gradient and one for the
    input's; the first layer of a network needs no input gradient. Where filters overlap, a kernel that transforms the
    input first (Winograd, FFT) multiplies no more than each input position once per pair of channels, so only that is
    no kernel's to skip.

    Args:
        taps: positions under the filter, such as 9 for 3 x 3.
        in_positions, out_positions: positions of one sample before and after.
        groups: parts that the channels are split into, each convolved by itself; as many as channels is depthwise.
        input_grad: False where the input is data.

    Source: Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308), section 4.

    ResNet's first layer, 7 x 7 on 224 x 224 with a stride of 2: 2·112²·64·3·49.

    >>> convolution(Workload(), "c", "mlp", channels_in=3, channels_out=64, taps=49, in_positions=50176, out_positions=12544).flop
    236027904
    """
    m, fan_in, size = workload.batch * out_positions, channels_in // groups * taps, workload.dtype_bytes
    flop = 2 * m * channels_out * fan_in
    weights = channels_out * fan_in + (channels_out if bias else 0)
    read = workload.batch * in_positions * channels_in
    least_flop = 2 * workload.batch * in_positions * channels_out * (channels_in // groups)
    return Op(
        name=name,
        component=component,
        kind="matmul",
        count=count,
        params=weights,
        flop=flop,
        backward_flop=2 * flop if input_grad else flop,
        masked_flop=max(0, flop - least_flop),
        weight_bytes=weights * size,
        activation_bytes=(read + m * channels_out) * size,
        saved_bytes=read * size,
        recomputed=recomputed,
        mnk=(m, channels_out // groups, fan_in),
        matrices_per_token=groups,
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


def chunk_pairs(workload: Workload, chunk: int) -> int:
    """Query-key pairs of one sequence where a token sees its past within its own chunk alone.

    The token at position p sees p mod chunk + 1 keys.

    >>> chunk_pairs(Workload(seq_len=5), 4)
    11
    """

    def before(position: int) -> int:
        whole, rest = divmod(position, chunk)
        return whole * (chunk * (chunk + 1) // 2) + rest * (rest + 1) // 2

    return before(workload.context_len + workload.seq_len) - before(workload.context_len)


def band_pairs(seq_len: int, window: int) -> int:
    """Query-key pairs of one sequence where each token sees (window - 1) / 2 neighbours on either side, and itself.

    >>> band_pairs(4, 3)
    10
    """
    side = min((window - 1) // 2, seq_len - 1)
    return seq_len * (2 * side + 1) - side * (side + 1)


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
    trims_cache: bool = True,
    keys: int | None = None,
    count: int = 1,
    recomputed: bool = True,
    operands: tuple[str, str, str] = ("query", "key", "value"),
    pairs: int | None = None,
) -> tuple[Op, Op]:
    """The two products of activations: scores (T x S x qk_width) and context (T x S x v_width), per head.

    Args:
        cache_elements_per_token: elements that one token leaves in one layer's KV cache.
        window: keys that a query may see at most, itself included.
        trims_cache: whether keys that have left the window are gone; else they are multiplied and masked.
        keys: S where it is not the step's own past (cross-attention).
        operands: rows behind `prefix` that make queries, keys and values.
        pairs: query-key pairs of one sequence that the mask lets through, where the window alone does not say.
    """
    visible = attended_keys(workload, window) if keys is None else keys
    s = visible if trims_cache or keys is not None else attended_keys(workload, None)
    b, t = workload.batch, workload.seq_len
    square = t * t if causal and workload.phase != "decode" else 0
    masked = t * s - visible_pairs(workload, window) if causal else 0
    if not causal and window is not None and keys is None:
        masked = t * s - band_pairs(t, window)
    if pairs is not None:
        masked = t * s - pairs
    if workload.phase in ("prefill", "decode"):
        seen = visible if pairs is None else min(visible, pairs)
        tokens_moved = seen if workload.phase == "decode" or keys is not None else t
        cache_bytes = b * tokens_moved * cache_elements_per_token * workload.dtype_bytes
    else:
        cache_bytes = 0

    def product(name: str, width: int, cache: int, reads: tuple[str, str]) -> Op:
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
            reads=tuple(f"{prefix}.{operand}" for operand in reads),
        )

    query, key, value = operands
    return product("scores", qk_width, cache_bytes, (query, key)), product("context", v_width, 0, ("scores", value))


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


def spare(name: str, component: str, *, num: int, count: int = 1) -> Op:
    """Parameters that are held and that no step uses, such as the mask token of a pre-training that is over."""
    return Op(name=name, component=component, kind="elementwise", count=count, params=num)
