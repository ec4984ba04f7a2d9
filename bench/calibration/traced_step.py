"""A workload's step, seen on fake tensors before it runs, where nothing is allocated, and looked at again as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from bench.backend.device import Device
from bench.backend.kv_cache import new_cache, with_cache
from bench.backend.models import language_model, without_drawing
from bench.backend.operators.profiler import num_operators, seconds_by_group
from bench.backend.operators.trace import Call, calls_of, fake
from bench.backend.steps.training import Batch, gradients, loss_of, prepared
from bench.backend.tuned_model import tuned_on_meta
from bench.backend.unread_values import numbers_of_inputs
from bench.workloads.article import networks
from bench.workloads.article.engine import engine
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.training import Trainer, optimizer_of
from bench.workloads.language.loading import weights_dtype
from bench.workloads.language.run import LanguageRun
from bench.workloads.language.train import autocast_dtype, training_step
from bench.workloads.samples.run import SampleRun
from bench.workloads.step_run import StepRun
from estimators.errors import UnavailableError

Step = Callable[[], Sequence[torch.Tensor]]
"""One step, of a training without its update; returns the tensors that it leaves behind, which are the gradients to update by."""


def language_work(run: LanguageRun, cache_bytes: int) -> tuple[list[Call], list[int]]:
    """Operators of one prefill, decode step (the median one), or training step without its update, and the sizes of what is updated.

    How an update is seen: `bench.backend.operators.optimizers`.
    """
    on_meta = None if run.job is None else tuned_on_meta(run.config, run.job, attn=run.attn)
    with _driven(run) as (accelerator, device), fake(device.torch_device):
        model = language_model(run.config, attn=run.attn, dtype=weights_dtype(run)) if on_meta is None else _there(on_meta, device)
        ids = torch.zeros(run.batch, run.seq_len, dtype=torch.long)
        with _step(model, ids, run, accelerator) as step:
            return _seen(step, cache_bytes)


def _there(on_meta: Any, device: Device) -> nn.Module:
    """A model on meta as one of fake tensors on the device; peft cannot put adapters beside those."""
    model: nn.Module = on_meta.to_empty(device=device.torch_device)
    on_meta.tie_weights()
    return model


def sample_work(run: SampleRun, cache_bytes: int) -> tuple[list[Call], list[int]]:
    """The same of one forward pass or training step of a model of samples.

    Whole numbers among its inputs keep their values, since a model that reads images beside a text looks where they stand in it.

    Raises:
        UnavailableError: it looks at others as well.
    """
    dtype = weights_dtype(run)
    given = run.network.drawn(run.seed, dtype)
    with _driven(run) as (accelerator, device), fake(device.torch_device) as mode:
        with without_drawing():
            model = run.network.build(run.attn, dtype)
        batch = {name: mode.from_tensor(each).to(device.torch_device) if each.is_floating_point() else each for name, each in given.items()}
        try:
            with numbers_of_inputs(), _step(model, batch, run, accelerator) as step:
                return _seen(step, cache_bytes)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise UnavailableError(f"{run.model} looks at values of tensors while it runs ({error}), which only a real step has") from error


def article_work(run: ArticleRun, cache_bytes: int) -> tuple[list[Call], list[int]]:
    """The same of one training step of an article's model."""
    given = run.subject.train.__getitems__(torch.zeros(run.batch, dtype=torch.long))
    with engine(run.device, run.dtype) as (accelerator, _), fake(accelerator.device) as mode:
        inputs, targets, weights = (mode.from_tensor(tensor).to(accelerator.device) for tensor in given)
        network = networks.build(run.config)
        model, optimizer = prepared(accelerator, network, optimizer_of(run, network))
        trainer = Trainer(
            accelerator=accelerator, model=model, optimizer=optimizer, schedule=None, losses=run.subject.losses, batch=run.batch
        )

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


def profiled(step: Step, device: Device) -> dict[str, Any]:
    """Where a step's time goes as it runs, and of how many operators it is: fields of a record's `estimate["local"]`.

    An update counts as one operator for each of its tensors, as where it is predicted.
    """
    num_updates = len(step())
    return {"profiled_s": seconds_by_group(step, device), "num_profiled_ops": num_operators(step) + num_updates}


@contextmanager
def step_of(model: nn.Module, batch: Batch, run: StepRun) -> Iterator[Step]:
    """The run's step on a model and its batch: a prefill, a decode step, a forward pass, or forward and backward."""
    with _driven(run) as (accelerator, _), _step(model, batch, run, accelerator) as step:
        yield step


@contextmanager
def _driven(run: StepRun) -> Iterator[tuple[Any, Device]]:
    """What a training step is driven by, accelerate, and the device of this rank; inference does without."""
    if run.task != "train":
        yield None, run.device
        return
    with engine(run.device, autocast_dtype(run)) as (accelerator, device):
        yield accelerator, device


@contextmanager
def _step(model: nn.Module, batch: Any, run: StepRun, accelerator: Any) -> Iterator[Step]:
    if run.task != "train":
        model.eval()
        yield _forward_pass(model, batch, run) if isinstance(run, SampleRun) else _inference_step(model, batch, run)
        return
    loss = run.network.loss if isinstance(run, SampleRun) else loss_of
    with training_step(model, batch, run, accelerator, loss=loss, updates=False) as step:

        def forward_backward() -> list[torch.Tensor]:
            step.forward_backward()
            return gradients(model)

        yield forward_backward


def _forward_pass(model: nn.Module, given: Any, run: SampleRun) -> Step:
    def forward() -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            run.network.forward(model, given)
        return ()

    return forward


def _inference_step(model: nn.Module, ids: torch.Tensor, run: Any) -> Step:
    static_len = run.seq_len + run.new_tokens if run.cache == "static" else None

    def prefilled(tokens: torch.Tensor) -> Any:
        cache = new_cache(model, static_len=static_len)
        with torch.inference_mode():
            model(input_ids=tokens, logits_to_keep=1, **with_cache(model, cache))
        return cache

    def prefill() -> Sequence[torch.Tensor]:
        prefilled(ids)
        return ()

    if run.task == "prefill":
        return prefill
    steps = run.new_tokens - 1
    cache = prefilled(torch.zeros(ids.shape[0], ids.shape[1] + steps // 2, dtype=torch.long, device=ids.device))

    def decode() -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            logits = model(input_ids=ids[:, :1], **with_cache(model, cache)).logits
            logits[:, -1:].argmax(-1)
        return ()

    return decode
