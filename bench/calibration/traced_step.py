"""A workload's step, seen on fake tensors before it runs, where nothing is allocated, and looked at again as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.backend import device as devices
from bench.backend.device import Device
from bench.backend.kv_cache import new_cache, with_cache
from bench.backend.models import language_model
from bench.backend.operators.profiler import num_operators, seconds_by_group
from bench.backend.operators.trace import Call, calls_of, fake
from bench.backend.steps.training import gradients, prepared
from bench.records.request import Request
from bench.workloads.article import plan, steady_batch, subjects
from bench.workloads.article.engine import engine
from bench.workloads.article.networks import build
from bench.workloads.article.training import Trainer, optimizer_of
from bench.workloads.language.train import training_step

Step = Callable[[], Sequence[torch.Tensor]]
"""One step, of a training without its update; returns the tensors that it leaves behind, which are the gradients to update by."""


def language_work(request: Request, cache_bytes: int) -> tuple[list[Call], list[int]]:
    """Operators of one prefill, decode step (the median one), or training step without its update, and the sizes of what is updated.

    The request's sizes and dtype must be decided. How an update is seen: `bench.backend.operators.optimizers`.
    """
    assert request.dtype is not None
    dtype = torch.float32 if request.task == "train" else devices.dtype(request.dtype)
    with engine(request) as (accelerator, _), fake(accelerator.device):
        model = language_model(request.config, attn=request.attn or "sdpa", dtype=dtype)
        ids = torch.zeros(request.batch or 1, request.seq_len or 1, dtype=torch.long)
        with _step(model, ids, request, accelerator) as step:
            return _seen(step, cache_bytes)


def article_work(request: Request, cache_bytes: int) -> tuple[list[Call], list[int]]:
    """The same of one training step of an article's model."""
    decided = plan(request)
    subject = subjects.load(request, decided)
    batch = steady_batch(request)
    given = subject.train.__getitems__(torch.zeros(batch, dtype=torch.long))
    with engine(request) as (accelerator, _), fake(accelerator.device) as mode:
        inputs, targets, weights = (mode.from_tensor(tensor).to(accelerator.device) for tensor in given)
        network = build(decided.config)
        model, optimizer = prepared(accelerator, network, optimizer_of(decided, network))
        trainer = Trainer(accelerator=accelerator, model=model, optimizer=optimizer, schedule=None, losses=subject.losses, batch=batch)

        def forward_backward() -> list[torch.Tensor]:
            trainer.forward_backward(inputs, targets, weights)
            return gradients(network)

        return _seen(forward_backward, cache_bytes)


def _seen(step: Step, cache_bytes: int) -> tuple[list[Call], list[int]]:
    left: list[torch.Tensor] = []

    def once() -> list[torch.Tensor]:
        left.extend(step())
        return left

    return calls_of(once, cache_bytes), [tensor.numel() for tensor in left]


def profiled(model: nn.Module, ids: torch.Tensor, request: Request, device: Device) -> dict[str, Any]:
    """Where the time of a language model's step goes as it runs, and of how many operators it is: the record's `estimate["local"]`.

    An update counts as one operator for each of its tensors, as where it is predicted.
    """
    with engine(request) as (accelerator, _), _step(model, ids, request, accelerator) as step:
        num_updates = len(step())
        return {"profiled_s": seconds_by_group(step, device), "num_profiled_ops": num_operators(step) + num_updates}


@contextmanager
def _step(model: nn.Module, ids: torch.Tensor, request: Request, accelerator: Any) -> Iterator[Step]:
    if request.task != "train":
        yield _inference_step(model.eval(), ids, request)
        return
    with training_step(model, ids, request, accelerator) as step:

        def forward_backward() -> list[torch.Tensor]:
            step.forward_backward()
            return gradients(model)

        yield forward_backward


def _inference_step(model: nn.Module, ids: torch.Tensor, request: Request) -> Step:
    static_len = (request.seq_len or 1) + (request.new_tokens or 0) if request.cache == "static" else None

    def prefilled(tokens: torch.Tensor) -> Any:
        cache = new_cache(model, static_len=static_len)
        with torch.inference_mode():
            model(input_ids=tokens, logits_to_keep=1, **with_cache(model, cache))
        return cache

    def prefill() -> Sequence[torch.Tensor]:
        prefilled(ids)
        return ()

    if request.task == "prefill":
        return prefill
    steps = (request.new_tokens or 2) - 1
    cache = prefilled(torch.zeros(ids.shape[0], ids.shape[1] + steps // 2, dtype=torch.long, device=ids.device))

    def decode() -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            logits = model(input_ids=ids[:, :1], **with_cache(model, cache)).logits
            logits[:, -1:].argmax(-1)
        return ()

    return decode
