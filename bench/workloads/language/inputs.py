"""Token ids that go in: the tokenized prompt where a tokenizer is at hand, else seeded random ids of a stated length."""

from __future__ import annotations

from typing import Any

import torch

from bench.workloads.language.run import LanguageRun
from estimators.errors import BadConfigError, BadValueError


def encode(prompt: str, tokenizer: Any, vocab: int) -> torch.Tensor:
    """The prompt's token ids, 1 x T.

    Raises:
        BadValueError: the prompt has no token.
        BadConfigError: the tokenizer knows tokens that the model does not.
    """
    ids: torch.Tensor = tokenizer(prompt, return_tensors="pt").input_ids
    if ids.numel() == 0:
        raise BadValueError(f"the prompt {prompt[:40]!r} has no token under the checkpoint's tokenizer; give another with --prompt")
    if int(ids.max()) >= vocab:
        raise BadConfigError(
            f"the checkpoint's tokenizer gives token {int(ids.max())}, but the model's vocabulary has {vocab}; "
            "leave the tokenizer's files out, or give --seq-len for random tokens"
        )
    return ids.long()


def token_ids(run: LanguageRun, vocab: int) -> torch.Tensor:
    """B x T token ids on the run's device: the prompt in every row, or seeded random ids."""
    if run.prompt_ids is not None:
        return run.prompt_ids.repeat(run.batch, 1).to(run.device.torch_device)
    generator = torch.Generator().manual_seed(run.seed)
    return torch.randint(0, vocab, (run.batch, run.seq_len), generator=generator).to(run.device.torch_device)


def label(run: LanguageRun) -> str:
    """What every table says of the input."""
    if run.prompt_ids is not None:
        return f"the prompt, {run.seq_len} tokens under the checkpoint's tokenizer"
    return f"{run.seq_len} random token ids stand in for text"
