"""Whole numbers of a configuration of transformers, by the names that its fields may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PARTS = (
    "vision_config",
    "audio_config",
    "encoder_config",
    "decoder_config",
    "text_config",
    "backbone_config",
    "semantic_model_config",
    "acoustic_model_config",
    "ffn_config",
)


def parts_of(config: Any, depth: int = 4) -> Iterator[Any]:
    """A configuration and those inside it, not too deep: one may make a part that has itself for a part."""
    yield config
    for name in PARTS:
        inner = getattr(config, name, None)
        if depth and inner is not None and not isinstance(inner, dict):
            yield from parts_of(inner, depth - 1)


def integer(config: Any, *names: str) -> int:
    """The first of the names that is a whole number above 0, or a list that begins with one; 0 for none.

    Of a field that each layer has its own value of, the largest.
    """
    for name in names:
        if isinstance(config, dict):
            continue
        value = _value(config, name)
        if isinstance(value, list | tuple) and value and isinstance(value[0], int):
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def first_integer(config: Any, *names: str) -> int:
    """The first of the names that a configuration or a part of it has, as `integer` reads it; 0 for none."""
    return next((value for part in parts_of(config) if (value := integer(part, *names))), 0)


def _value(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except RuntimeError:  # transformers refuses to say what each layer has its own value of
        of_layers = [getattr(layer, name, None) for layer in config.per_layer_config]
        return max((value for value in of_layers if isinstance(value, int)), default=None)
