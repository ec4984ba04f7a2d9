"""Tiny models with drawn weights, and folders that hold their checkpoint and a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.backend.models import random_language_model
from tests.support.tiny_models import config

CPU = torch.device("cpu")
RUN = ["--task", "generate", "--new-tokens", "3", "--num-beams", "2", "--steps", "1"]


def random_model(family: str, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> nn.Module:
    return random_language_model(config(family) | changes, attn="sdpa", dtype=dtype, device=CPU, seed=seed).eval()


def save_checkpoint(folder: Path, family: str = "phi", seed: int = 3, **changes: Any) -> nn.Module:
    model = random_model(family, seed, **changes)
    model.save_pretrained(folder)
    return model


def save_tokenizer(folder: Path, words: tuple[str, ...] = ("<unk>", "<pad>", "deep", "learning", "is", "hard")) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)
