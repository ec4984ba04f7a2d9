"""The operators of a workload's step, seen on fake tensors: nothing is allocated and nothing runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from bench.backend import device as devices
from bench.backend.kv_cache import new_cache, with_cache
from bench.backend.models import language_model
from bench.backend.operators.trace import Call, calls_of, fake
from bench.workloads.article import networks
from bench.workloads.article.run import ArticleRun
from bench.workloads.language.run import LanguageRun


def language_calls(run: LanguageRun, cache_bytes: int) -> list[Call]:
    """Operators of one prefill, decode step (the median one), or forward and backward of a training step.

    The optimizer is not among them: see `bench.backend.operators.optimizers`.
    """
    train = run.task == "train"
    with fake(), warnings.catch_warnings(action="ignore"):
        model = language_model(run.config, attn=run.attn, dtype=torch.float32 if train else devices.dtype(run.dtype))
        ids = torch.zeros(run.batch, run.seq_len, dtype=torch.long)
        return calls_of(step_of(model, ids, run), cache_bytes)


def step_of(model: nn.Module, ids: torch.Tensor, run: LanguageRun) -> Callable[[], object]:
    """The run's step on a model and token ids: a prefill, a decode step, or forward and backward."""
    return _train_step(model, ids, run) if run.task == "train" else _inference_step(model.eval(), ids, run)


def _inference_step(model: nn.Module, ids: torch.Tensor, run: LanguageRun) -> Callable[[], object]:
    static_len = run.seq_len + run.new_tokens if run.cache == "static" else None

    def prefilled(tokens: torch.Tensor) -> Any:
        cache = new_cache(model, static_len=static_len)
        with torch.inference_mode():
            model(input_ids=tokens, logits_to_keep=1, **with_cache(model, cache))
        return cache

    if run.task == "prefill":
        return lambda: prefilled(ids)
    steps = run.new_tokens - 1
    cache = prefilled(torch.zeros(ids.shape[0], ids.shape[1] + steps // 2, dtype=torch.long))

    def decode() -> None:
        with torch.inference_mode():
            logits = model(input_ids=ids[:, :1], **with_cache(model, cache)).logits
            logits[:, -1:].argmax(-1)

    return decode


def _train_step(model: nn.Module, ids: torch.Tensor, run: LanguageRun) -> Callable[[], list[torch.Tensor]]:
    model.train()
    lower = run.dtype != "fp32"

    def step() -> list[torch.Tensor]:
        with torch.autocast(ids.device.type, dtype=devices.dtype(run.dtype)) if lower else nullcontext():
            outputs = model(input_ids=ids, labels=ids, use_cache=False)
        if lower:
            outputs.logits.float()  # as accelerate hands them back
        outputs.loss.backward()
        return gradients(model)

    return step


def gradients(model: nn.Module) -> list[torch.Tensor]:
    """What a backward leaves behind."""
    return [p.grad for p in model.parameters() if p.grad is not None]


def article_calls(run: ArticleRun, cache_bytes: int) -> list[Call]:
    """Operators of one training step of an article's model, forward and backward, without the optimizer's."""
    inputs, targets, weights = run.subject.train.__getitems__(torch.zeros(run.batch, dtype=torch.long))
    mode = fake()
    with warnings.catch_warnings(action="ignore"):
        made = [mode.from_tensor(t) for t in (inputs, targets, weights)]
        with mode:
            model = networks.build(run.config)

            def step() -> list[torch.Tensor]:
                outputs = networks.run(model, made[0])
                loss: Any = run.subject.losses(outputs, made[1]) @ made[2] * (1 / run.batch)
                loss.backward()
                return gradients(model)

            return calls_of(step, cache_bytes)
