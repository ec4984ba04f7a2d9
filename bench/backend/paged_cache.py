"""transformers' continuous batching: its settings with nothing left to guess, its cache, and one forward pass as it calls the model.

Source: transformers 5.24, generation/continuous_batching/{continuous_api,cache,input_outputs}.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from estimators.errors import UnavailableError

NO_END = -1
"""Token that ends an answer: none does, so that its length is the one asked for."""


def demand_continuous_batching() -> None:
    """Raises UnavailableError where the installed transformers has none, or an older one."""
    try:
        from transformers.generation.configuration_utils import ContinuousBatchingConfig  # noqa: F401
    except ImportError:
        raise UnavailableError(
            "--task serve needs continuous batching as transformers 5.24 has it: pip install 'transformers>=5.24'"
        ) from None


def settings(*, num_blocks: int, page_size: int, max_batch_tokens: int, sequences: int) -> Any:
    """The engine's settings. Without a number of blocks it would take 90 % of the free memory; prompts of a run share nothing.

    All sequences have blocks of their own to the end: with the margin of 15 % that it keeps free by default, the last of them would wait.
    """
    from transformers.generation.configuration_utils import ContinuousBatchingConfig

    return ContinuousBatchingConfig(
        num_blocks=num_blocks,
        page_size=page_size,
        max_batch_tokens=max_batch_tokens,
        max_requests_per_batch=sequences,
        safety_margin=0.0,
        allow_block_sharing=False,
        auto_switch_to_flash=False,
        seed=0,
    )


def greedy(new_tokens: int) -> Any:
    """Generation of so many tokens, each the likeliest."""
    from transformers import GenerationConfig

    return GenerationConfig(max_new_tokens=new_tokens, eos_token_id=NO_END, do_sample=False)


def cache_of(model: nn.Module, engine_settings: Any) -> Any:
    """The engine's cache for a model; of fake tensors where the model is."""
    from transformers.generation.continuous_batching.cache import PagedAttentionCache

    manager = model.init_continuous_batching(generation_config=greedy(1), continuous_batching_config=engine_settings)
    return PagedAttentionCache(
        config=model.config.get_text_config(),
        continuous_batching_config=manager.continuous_batching_config,
        device=model.device,
        distributed_helper=manager.distributed_helper,
        dtype=model.dtype,
        model_supports_logits_to_keep=True,
    )


def held_bytes(cache: Any) -> int:
    """Bytes of the tensor that keys and values lie in, without the two sectors at its end that padding is written to."""
    return int(cache.cache_tensor.numel() * cache.cache_tensor.element_size()) - 2 * int(cache.bytes_per_sector)


def pass_arguments(model: nn.Module, cache: Any, *, tokens: int, keys: int, sequences: int) -> dict[str, Any]:
    """Arguments of one forward pass: tokens of all sequences in one row, the keys that all of them see, a mask between the two.

    Args:
        tokens: decoded and read ones together.
        keys: in the cache, those of these tokens among them; as many as there are tokens where nothing is read from the cache.
        sequences: that get a token.
    """

    def zeros(*shape: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
        return torch.zeros(*shape, dtype=dtype)

    ends = zeros(sequences + 1, dtype=torch.int32)
    kinds = list(cache.cache_allocators)
    return {
        "input_ids": zeros(1, tokens),
        "position_ids": zeros(1, tokens),
        "attention_mask": torch.zeros(1, 1, tokens, keys, dtype=model.dtype),
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": dict.fromkeys(kinds, ends),
        "max_length_q": 1,
        "max_length_k": dict.fromkeys(kinds, keys),
        "logits_indices": zeros(sequences),
        "logits_to_keep": zeros(sequences),
        "read_index": [zeros(keys if keys > tokens else 0) for _ in kinds],
        "write_index": [zeros(tokens) for _ in kinds],
        "cache": cache,
        "block_table": None,
        "use_cache": False,
        "is_causal": False,
    }
