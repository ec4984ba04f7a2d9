"""Sliding windows: one for all layers, or one for those that `layer_types` or a pattern names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from estimators.architectures.builders.sizes import MAX_VARIED_LAYERS

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def window_of(f: Fields, default: int | None) -> int | None:
    """The sliding window: as stated, none where it is null, the default where it is not there."""
    return f.optional_integer("sliding_window") if "sliding_window" in f.config else f.default("sliding_window", default)


def windows_of(f: Fields, layers: int, window: int | None, slides: Callable[[int], bool]) -> tuple[int | None, ...]:
    """The window of each layer, None for one that sees everything.

    Args:
        window: of the layers that have one.
        slides: whether layer i has one, where `layer_types` does not say.

    Raises:
        BadConfigError: layer_types that do not fit, or a layer with a window where there is none.
    """
    if layers > MAX_VARIED_LAYERS:
        raise f.fail("num_hidden_layers", layers, f"at most {MAX_VARIED_LAYERS:,} layers where they differ")
    types = f.config.get("layer_types")
    if types is None:
        sliding = [slides(i) for i in range(layers)]
    elif isinstance(types, list) and len(types) == layers and all(t in ("full_attention", "sliding_attention") for t in types):
        sliding = [t == "sliding_attention" for t in types]
    else:
        raise f.fail("layer_types", types, f"a list of {layers} words, each full_attention or sliding_attention")
    if window is None and any(sliding):
        raise f.fail("sliding_window", None, "a whole number from 1, since layers have sliding attention")
    return tuple(window if slide else None for slide in sliding)
