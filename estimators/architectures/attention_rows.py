"""Rows of attention: which keys a query meets, which of them a mask lets through, and the two products."""

from __future__ import annotations

from typing import Literal

from estimators.architectures.rows import name_of
from estimators.spec import Op, Workload


def attended_keys(workload: Workload, window: int | None) -> int:
    """S: keys that the step's queries are multiplied with, as an unmasked kernel runs it.

    A sliding-window cache holds the last window - 1 tokens beside the step's own.

    >>> attended_keys(Workload(phase="decode", context_len=512), None)
    513
    """
    cached = workload.context_len if window is None else min(workload.context_len, window - 1)
    return cached + workload.seq_len


def held_keys(workload: Workload, window: int | None) -> int:
    """Tokens whose keys and values the cache holds when the step is over: all, or the last window - 1, which the next query sees.

    A static one has room for all, and for a whole window, from the start.

    >>> held_keys(Workload(phase="prefill", seq_len=300), 64)
    63
    """
    written = workload.context_len + workload.seq_len
    if workload.cache_len:
        room = max(workload.cache_len, written)
        return room if window is None else min(room, window)
    return written if window is None else min(written, window - 1)


def growing_queries(workload: Workload, window: int | None) -> int:
    """Queries of one sequence that still see all their past, so that each sees one key more than the one before.

    >>> growing_queries(Workload(seq_len=8), 3)
    3
    """
    return workload.seq_len if window is None else max(0, min(workload.seq_len, window - workload.context_len))


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
    growing = growing_queries(workload, window)
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
    cache_heads: int,
    causal: bool = True,
    window: int | None = None,
    trims_cache: bool = True,
    forgets: bool = True,
    holds: bool = True,
    keys: int | None = None,
    count: int = 1,
    recomputed: bool = True,
    operands: tuple[str, str, str] = ("query", "key", "value"),
    pairs: int | None = None,
) -> tuple[Op, Op]:
    """The two products of activations: scores (T x S x qk_width) and context (T x S x v_width), per head.

    Args:
        cache_elements_per_token: elements that one token leaves in one layer's KV cache.
        cache_heads: heads that it holds keys and values of.
        window: keys that a query may see at most, itself included.
        trims_cache: whether keys that have left the window are gone; else they are multiplied and masked.
        forgets: whether keys that the window hides leave the cache; else they are held, and neither read nor multiplied.
        holds: whether the layer's own cache holds them; else it reads those that an earlier layer made.
        keys: S where it is not the step's own past (cross-attention).
        operands: rows behind `prefix` that make queries, keys and values.
        pairs: query-key pairs of one sequence that the mask lets through, where the window alone does not say.
    """
    visible = attended_keys(workload, window) if keys is None else keys
    s = visible if trims_cache or keys is not None else attended_keys(workload, None)
    b, t = workload.batch, workload.seq_len
    masked = t * s - visible_pairs(workload, window) if causal else 0
    if not causal and window is not None and keys is None:
        masked = t * s - band_pairs(t, window)
    if pairs is not None:
        masked = t * s - pairs
    half_pairs = 0  # the diagonal, which T²/2 cuts in two
    if causal and workload.phase != "decode":
        half_pairs = growing_queries(workload, window if pairs is None else None)
    held = held_keys(workload, window if trims_cache and forgets else None) if keys is None else keys
    written = held if keys is not None else min(held, t)
    moved = written * holds if workload.phase == "prefill" else visible if pairs is None else min(visible, pairs)
    token_bytes = workload.bytes_of(b * cache_elements_per_token) if workload.phase in ("prefill", "decode") else 0

    def product(role: Literal["scores", "context"], width: int, token_bytes: int, reads: tuple[str, str]) -> Op:
        flop = 2 * b * heads * t * s * width
        return Op(
            name=name_of(prefix, role),
            component="attention",
            kind="attention",
            part=prefix,
            role=role,
            cut="heads",
            count=count,
            flop=flop,
            backward_flop=2 * flop,
            unseen_flop=b * heads * (2 * masked + half_pairs) * width,
            masked_flop=2 * b * heads * masked * width,
            cache_bytes=moved * token_bytes,
            held_cache_bytes=held * token_bytes * holds,
            cache_heads=cache_heads,
            activation_bytes=workload.bytes_of(b * heads * (t * s + (t + s) * width)),
            saved_bytes=workload.bytes_of(b * heads * (t * s + t * width)),
            recomputed=recomputed,
            mnk=(t, s, width) if role == "scores" else (t, width, s),
            reads=tuple(f"{prefix}.{operand}" for operand in reads),
        )

    query, key, value = operands
    return product("scores", qk_width, token_bytes, (query, key)), product("context", v_width, 0, ("scores", value))
