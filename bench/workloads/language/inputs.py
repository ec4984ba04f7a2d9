"""Token ids that go in: the tokenized prompt where a tokenizer is at hand, else seeded random ids of a stated length."""

from __future__ import annotations

from typing import Any

import torch

from bench.records.request import Request
from bench.workloads.sizes import ARTICLE_PROMPT
from estimators.errors import BadConfigError, BadValueError


def encode(request: Request, tokenizer: Any | None, vocab: int) -> torch.Tensor | None:
    """The prompt's token ids, 1 x T; None where no tokenizer is at hand or another length is asked for.

    Raises:
        BadValueError: the prompt has no token.
        BadConfigError: the tokenizer knows tokens that the model does not.
    """
    if tokenizer is None or request.seq_len is not None:
        return None
    prompt = request.prompt or ARTICLE_PROMPT
    ids: torch.Tensor = tokenizer(prompt, return_tensors="pt").input_ids
    if ids.numel() == 0:
        raise BadValueError(f"the prompt {prompt[:40]!r} has no token under the checkpoint's tokenizer; give another with --prompt")
    if int(ids.max()) >= vocab:
        raise BadConfigError(
            f"the checkpoint's tokenizer gives token {int(ids.max())}, but the model's vocabulary has {vocab}; "
            "leave the tokenizer's files out, or give --seq-len for random tokens"
        )
    return ids.long()


def token_ids(request: Request, encoded: torch.Tensor | None, vocab: int, device: torch.device) -> torch.Tensor:
    """B x T token ids on the device: the prompt in every row, or seeded random ids."""
    if encoded is not None:
        return encoded.repeat(request.batch or 1, 1).to(device)
    generator = torch.Generator().manual_seed(request.seed)
    return torch.randint(0, vocab, (request.batch or 1, request.seq_len or 1), generator=generator).to(device)


def label(request: Request, encoded: torch.Tensor | None) -> str:
    """What every table says of the input."""
    if encoded is not None:
        return f"the prompt, {encoded.shape[1]} tokens under the checkpoint's tokenizer"
    return f"{request.seq_len} random token ids stand in for text"
