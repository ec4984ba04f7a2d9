"""What a cache of transformers holds behind a real forward pass on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from bench.backend.kv_cache import cache_name, with_cache


def held_bytes(cache: Any) -> int:
    """Bytes of every floating-point tensor in the cache, a storage that two of them share once."""
    held = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in _tensors(cache) if tensor.is_floating_point()}
    return sum(held.values())


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif "Cache" in type(value).__name__ or type(value).__module__ == "transformers.cache_utils":
        yield from _tensors(vars(value))


def generated(model: nn.Module, first: dict[str, Any], *, new_tokens: int, ids: str = "input_ids") -> list[int]:
    """Bytes that the cache holds behind a prompt and behind each further token, by the cache that the model makes itself.

    Args:
        first: arguments of the prompt's forward pass.
        ids: of them, the tokens that the model continues.
    """
    experts = getattr(model, "set_experts_implementation", None)
    if experts is not None:
        experts("eager")  # grouped products want widths in multiples of 16 bytes
    held, rest = [], {key: value for key, value in first.items() if key not in (ids, "input_features")}
    with torch.inference_mode():
        out = model.eval()(**first, use_cache=True)
        if hasattr(out, "encoder_last_hidden_state"):
            rest = {"encoder_outputs": (out.encoder_last_hidden_state,)}
        for _ in range(new_tokens):
            cache = getattr(out, cache_name(model))
            held.append(held_bytes(cache))
            out = model(**rest, **{ids: first[ids][:, :1]}, **with_cache(model, cache))
    return held
