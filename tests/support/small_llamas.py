"""A tiny Llama of transformers, batches as its Trainer gives them, and what torch's own counter sees of the real model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

SMALL: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "vocab_size": 64,
    "pad_token_id": 0,
}
ROWS, LENGTH = 4, 16
LLAMA_FLOP = 3 * (2 * 64 * (2 * (4 * 32**2 + 3 * 32 * 64) + 32 * 64) + 2 * 4 * 4 * 16**2 * 32)
"""Of one batch by hand: 64 tokens through two layers and the head, attention's two products in each, forward once and backward twice."""


def llama(kind: Any = LlamaForCausalLM, **fields: Any) -> Any:
    torch.manual_seed(0)
    return kind(LlamaConfig(**{**SMALL, **fields}))


class Texts(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(1, 64, (LENGTH,), generator=torch.Generator().manual_seed(i))
        return {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones(LENGTH, dtype=torch.long)}


def batch(**more: Any) -> dict[str, Any]:
    """As Trainer hands it to forward."""
    rows = [Texts()[i] for i in range(ROWS)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"use_cache": False} | more


def by_torch(model: nn.Module, *args: Any, formulas: Mapping[Any, Any] | None = None, **kwargs: Any) -> int:
    """Forward and backward of a real copy with eager attention, by torch.utils.flop_counter.

    Args:
        formulas: in place of torch's own, where those are wrong (groups of a convolution) or lacking.
    """
    real = copy.deepcopy(model)
    for part in real.modules():
        if hasattr(part, "set_attn_implementation"):
            part.set_attn_implementation("eager")
    counter = FlopCounterMode(display=False, custom_mapping=dict(formulas or {}))
    with (
        warnings.catch_warnings(action="ignore"),
        torch.backends.mkldnn.flags(enabled=False),
        counter,
    ):  # its recurrent and linear kernels are seen by no counter
        out = real(*args, **kwargs)
        loss = out.loss if hasattr(out, "loss") else out.sum()
        loss.backward()
    return int(counter.get_total_flops())
