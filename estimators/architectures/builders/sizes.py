"""What decoders' configurations say of their sizes, whatever they call them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from estimators.frozen import frozen

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


NAMES: Mapping[str, tuple[str, ...]] = {
    "width": ("hidden_size",),
    "layers": ("num_hidden_layers",),
    "heads": ("num_attention_heads",),
    "ffn_width": ("intermediate_size",),
    "positions": ("max_position_embeddings",),
    "activation": ("hidden_act",),
}
"""What most configurations call their sizes."""

MAX_VARIED_LAYERS = 10_000
"""Where a config tells layers apart one by one, it may not have more of them."""


@frozen
class Sizes:
    """What a decoder's configuration says of its sizes: V, D, L, N, K, H, F, positions; the activation; whether the head is tied."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    ffn_width: int
    positions: int
    activation: str
    tied: bool


def heads_of(
    f: Fields,
    *,
    width: int,
    heads: int,
    kv_heads: int,
    head_width: int | None = None,
    head_key: str = "head_dim",
    heads_keys: tuple[str, ...] = ("num_attention_heads", "n_head"),
    kv_key: str = "num_key_value_heads",
    width_key: str = "hidden_size",
) -> tuple[int, int, int]:
    """Heads, key-value heads and head width.

    Args:
        width: D, divided by the heads where `head_key` is null, or neither stated nor a default.
        heads, kv_heads, head_width: defaults of fields that are not there; kv_heads 0 for as many as heads. A null
            kv_heads means as many as heads, too.
        head_key, kv_key: empty for families that have no such field.

    Returns:
        N, K, H.

    Raises:
        BadConfigError: heads that do not divide.
    """
    heads = f.integer(*heads_keys, default=heads)
    same = kv_heads == 0 or f.config.get(kv_key, kv_heads) is None
    kv_heads = f.integer(kv_key, default=heads if same else kv_heads) if kv_key else heads
    f.divides(kv_key, kv_heads, heads_keys[0], heads)
    stated = f.optional_integer(head_key) if head_key in f.config else head_width
    if stated is None:
        f.divides(heads_keys[0], heads, width_key, width)
        stated = width // heads
    return heads, kv_heads, stated


def sizes(
    f: Fields,
    *,
    vocab: int,
    width: int,
    layers: int,
    heads: int,
    positions: int,
    ffn_width: int = 0,
    kv_heads: int = 0,
    head_width: int | None = None,
    activation: str = "silu",
    tied: bool = False,
    head_key: str = "head_dim",
    kv_key: str = "num_key_value_heads",
    names: Mapping[str, tuple[str, ...]] = NAMES,
) -> Sizes:
    """Read the sizes; the arguments are the defaults of the family's configuration class.

    Args:
        ffn_width: 0 for four times the width.
        names: how the configuration calls its fields, where it differs from NAMES; nothing for one that it does not have.

    Raises:
        BadConfigError: a field that makes no sense; one line.
    """
    names = {**NAMES, **names}
    width = f.integer(*names["width"], default=width)
    n, k, h = heads_of(
        f,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        head_key=head_key,
        heads_keys=names["heads"],
        kv_key=kv_key,
        width_key=names["width"][0],
    )
    ffn_default = ffn_width or 4 * width
    return Sizes(
        vocab=f.integer("vocab_size", default=vocab),
        width=width,
        layers=f.integer(*names["layers"], default=layers),
        heads=n,
        kv_heads=k,
        head_width=h,
        ffn_width=f.integer(*names["ffn_width"], default=ffn_default) if names["ffn_width"] else ffn_default,
        positions=f.integer(*names["positions"], default=positions),
        activation=f.text(*names["activation"], default=activation) if names["activation"] else activation,
        tied=f.flag("tie_word_embeddings", tied),
    )


def partial_rotary(f: Fields, default: float) -> float:
    """The share of each head that positions turn.

    Raises:
        BadConfigError: no number above 0, up to 1.
    """
    nested = f.config.get("rope_parameters")
    fields = nested if isinstance(nested, dict) and "partial_rotary_factor" in nested else f.config
    value = fields.get("partial_rotary_factor", default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise f.fail("partial_rotary_factor", value, "a number above 0, up to 1")
    return float(value)


plain_sizes = partial(sizes, head_key="", kv_key="")
"""The same for families whose heads are D / N wide and have keys and values each."""

MOSAIC_NAMES: Mapping[str, tuple[str, ...]] = {
    "width": ("d_model", "hidden_size"),
    "layers": ("n_layers", "num_hidden_layers"),
    "heads": ("n_heads", "num_attention_heads"),
    "ffn_width": (),
    "positions": ("max_seq_len", "max_position_embeddings"),
    "activation": (),
}
"""What MosaicML's configurations (MPT, DBRX) call their sizes."""
