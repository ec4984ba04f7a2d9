"""The cache of a model of transformers, and the name under which its forward takes it and hands it back."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn


def new_cache(model: nn.Module) -> Any:
    """An empty cache that grows, with the layers that the model's config asks for."""
    from transformers import DynamicCache

    return DynamicCache(config=model.config)


def cache_name(model: nn.Module) -> str:
    """Argument of the model's forward, and field of what it returns: `cache` from transformers 5.24, earlier one of two."""
    parameters = inspect.signature(model.forward).parameters
    return next((name for name in ("cache", "cache_params") if name in parameters), "past_key_values")


def with_cache(model: nn.Module, cache: Any) -> dict[str, Any]:
    """Keyword arguments of a forward that reads and fills the cache."""
    return {cache_name(model): cache, "use_cache": True}
