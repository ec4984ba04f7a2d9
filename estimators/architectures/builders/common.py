"""What most decoders' configurations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estimators.hf_config import Fields


def heads_of(f: Fields, *, width: int, heads: int, kv_heads: int, head_key: str = "head_dim") -> tuple[int, int, int]:
    """Heads, key-value heads and head width.

    Args:
        width: D, divided by the heads where `head_key` is not set.
        heads, kv_heads: defaults.

    Returns:
        N, K, H.

    Raises:
        BadConfigError: heads that do not divide.
    """
    heads = f.integer("num_attention_heads", "n_head", default=heads)
    kv_heads = f.integer("num_key_value_heads", default=kv_heads or heads)
    f.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    head_width = f.optional_integer(head_key)
    if head_width is None:
        f.divides("num_attention_heads", heads, "hidden_size", width)
        head_width = width // heads
    return heads, kv_heads, head_width
