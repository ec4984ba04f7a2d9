"""The cache of a model of transformers, and the name under which its forward takes it and hands it back."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from torch import nn

from estimators.errors import UnavailableError

NAMES = ("cache", "cache_params", "past_key_values")
"""Under which forward takes and hands it back, from the newest transformers (5.24) to the oldest."""


def new_cache(model: nn.Module, *, static_len: int | None = None) -> Any:
    """An empty cache with the layers that the model's config asks for.

    Args:
        static_len: tokens that a static one holds; None takes one that grows.
    """
    from transformers import DynamicCache, StaticCache

    if static_len is not None:
        return StaticCache(config=model.config, max_cache_len=static_len)
    beside = vars(sys.modules[type(model).__module__]).values()
    own = next((each for each in beside if _is_own(each, DynamicCache, type(model).__module__)), None)
    return DynamicCache(config=model.config) if own is None else own()


def _is_own(named: Any, base: type, module: str) -> bool:
    """Whether a name of a model's module is a kind of cache that stands there, as MiniMax's does, which takes no other."""
    return isinstance(named, type) and issubclass(named, base) and named.__module__ == module


def demand_static(model: nn.Module) -> None:
    """Refuse a static cache where transformers has none for the model.

    Raises:
        UnavailableError: one line.
    """
    if not getattr(model, "_can_compile_fullgraph", False):
        kind = model.config.model_type
        raise UnavailableError(f"transformers has no static cache for {kind!r} that compiles to one graph; leave --cache static out")


def cache_name(model: nn.Module) -> str:
    """Argument of the model's forward, and field of what it returns: one of NAMES."""
    parameters = inspect.signature(model.forward).parameters
    return next((name for name in NAMES if name in parameters), NAMES[-1])


def with_cache(model: nn.Module, cache: Any) -> dict[str, Any]:
    """Keyword arguments of a forward that reads and fills the cache."""
    return {cache_name(model): cache, "use_cache": True}
