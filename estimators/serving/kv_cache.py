"""The cache of a served model on one device: bytes of a token by layer, state of a sequence, what windows hold."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from estimators.architectures.decoder import Decoder
from estimators.architectures.latent_attention import LatentAttention
from estimators.architectures.part import Part, apart
from estimators.architectures.traced_decoder import as_decoder
from estimators.cost.array_math import Lane, smaller
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.spec import Model, Workload

BLOCK_BYTES: Mapping[str, tuple[int, int]] = {
    "bf16": (1, 2),
    "fp16": (1, 2),
    "fp8": (1, 1),
    "int8": (1, 1),
    "fp32": (1, 4),
    "q8_0": (32, 34),
    "q4_0": (32, 18),
}
"""Format of a cache -> values that lie together, and their bytes. llama.cpp's have a 16-bit scale for each 32 values; scales of fp8
serve a layer or a head and are left out.

Source: llama.cpp, ggml/src/ggml-common.h, block_q8_0 and block_q4_0.
"""


def kv_format(text: str) -> str:
    """The name of a cache's format.

    >>> kv_format("f16"), kv_format("fp8_e4m3")
    ('fp16', 'fp8')

    Raises:
        BadValueError: an unknown one.
    """
    name = text.strip().casefold().replace("-", "_")
    name = {"f16": "fp16", "f32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(name, name)
    name = "fp8" if name.startswith("fp8_") else name
    if name not in BLOCK_BYTES:
        raise BadValueError(f"a cache of {text[:40]!r} is unknown; expected one of: {', '.join(BLOCK_BYTES)}")
    return name


def value_bytes(kv: str) -> float:
    """Bytes of one cached value, its part of a scale included.

    >>> value_bytes("q8_0") * 32
    34.0
    """
    values, size = BLOCK_BYTES[kv_format(kv)]
    return size / values


@frozen
class KvLayers:
    """Layers that cache alike, on one device.

    Attributes:
        count: how many; of the fullest pipeline stage.
        token_bytes: that a token leaves in one of them.
        window: tokens that they keep of a sequence at most; None for all.
    """

    count: int
    token_bytes: float
    window: int | None = None


@frozen
class KvCache:
    """What sequences leave on one device.

    Attributes:
        layers: those with a cache of keys and values, or of latents; layers that read an earlier layer's are not among them.
        state_bytes: that each sequence has, however long it is: of state-space mixers.
    """

    layers: tuple[KvLayers, ...]
    state_bytes: float = 0.0

    @property
    def token_bytes(self) -> float:
        """That one more token takes while no window is full."""
        return sum(layer.count * layer.token_bytes for layer in self.layers)

    @property
    def is_linear(self) -> bool:
        """Whether a sequence takes its tokens' bytes and no others: no windows, no state."""
        return not self.state_bytes and all(layer.window is None for layer in self.layers)

    def sequence_bytes(self, tokens: Lane) -> Lane:
        """That a sequence of so many tokens takes.

        A layer with a window of 1,024 and one without, 4 bytes a token each, 5,000 tokens:

        >>> KvCache(layers=(KvLayers(count=1, token_bytes=4.0, window=1024), KvLayers(count=1, token_bytes=4.0))).sequence_bytes(5000)
        24096.0
        """
        held = (
            layer.count * layer.token_bytes * (tokens if layer.window is None else smaller(tokens, layer.window)) for layer in self.layers
        )
        return sum(held, self.state_bytes)


def kv_bytes_per_token(model: Model, kv: str = "bf16", tp: int = 1) -> float:
    """Bytes of a token on one device of `tp`, all layers, while no window is full.

    Llama 3.1 8B in bf16: 32 layers x 2 x 8 heads x 128 x 2 bytes. DeepSeek-V3's 61 latents of 576 values are on every rank.

    >>> from estimators.validation.model import shipped_model
    >>> kv_bytes_per_token(shipped_model("llama-3.1-8b")), kv_bytes_per_token(shipped_model("deepseek-v3"), tp=8)
    (131072.0, 70272.0)

    Raises:
        BadValueError: a model that caches nothing, an unknown format.
    """
    return kv_cache(model, kv, tp=tp).token_bytes


def kv_cache(
    model: Model,
    kv: str = "bf16",
    *,
    tp: int = 1,
    layers: Sequence[int] | None = None,
    trims_windows: bool = True,
    expanded: bool = False,
    context_ranks: int = 1,
) -> KvCache:
    """What a sequence of a decoder leaves on one device.

    Of grouped heads each rank has kv_heads / tp, at least one: beyond as many ranks as heads they are copied. A latent is on every
    rank, whole.

    Args:
        kv: format of the cache.
        tp: ranks that share out heads.
        layers: of each block, those that the device has; None for all.
        trims_windows: whether layers with a window let go of what has left it.
        expanded: whether a latent is cached as the keys and values of all heads that are made of it.
        context_ranks: ranks that share out the tokens of each sequence, a latent's too.

    Raises:
        BadValueError: a model that is no decoder, an unknown format.
    """
    base = as_decoder(model.base)
    if base is None:
        raise BadValueError(f"{model.name} is no decoder-only language model; a cache is known of those")
    size, counts = value_bytes(kv), layers if layers is not None else [block.count for block in base.blocks]
    found = []
    for block, count in zip(base.blocks, counts, strict=True):
        for part in apart(part for _, part in block.parts):
            for cached in part.cached if count else ():
                values = _values_on_rank(part, cached.elements_per_token, tp, expanded)
                window = cached.keeps if trims_windows or cached.trims else None
                found.append(KvLayers(count=count, token_bytes=values * size / context_ranks, window=window))
    return KvCache(layers=tuple(found), state_bytes=_state_bytes(base, counts, tp))


def _values_on_rank(part: Part, elements: float, tp: int, expanded: bool) -> float:
    """Of the `elements` that a token leaves in one layer, those on one of `tp` ranks."""
    if isinstance(part, LatentAttention):
        if not expanded:
            return elements
        return -(-part.heads // tp) * (part.qk_width + part.value_width)
    if part.kv_heads:
        return elements / part.kv_heads * max(1, -(-part.kv_heads // tp))
    return elements


def _state_bytes(model: Decoder, counts: Sequence[int], tp: int) -> float:
    """State of one sequence on one of `tp` ranks, which share out its heads."""
    return sum(count * each / tp for count, each in zip(counts, _states(model), strict=True))


@functools.lru_cache(maxsize=256)
def _states(model: Decoder) -> tuple[float, ...]:
    """Of one layer of each block: bytes of one sequence that do not grow with it."""
    tables = model.layer_ops(Workload(phase="decode", context_len=1))
    return tuple(
        sum(op.count * op.held_cache_bytes for op in rows if op.kind != "attention") / block.count
        for block, rows in zip(model.blocks, tables, strict=True)
    )
