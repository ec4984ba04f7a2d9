"""Reference models of negligible width, at two depths: what the host costs that drives a step, alone and beside much data.

In a wide model every product's weights pass through the caches that hold the host's own code and data, which then come from
further away at the next operator. The narrow models are therefore also driven with as many bytes read before each product.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from bench.backend.device import Device
from bench.backend.models import random_language_model
from bench.calibration import step_operators
from bench.records.asked import Asked
from bench.records.calibration import Reference
from bench.records.draft import Draft
from bench.sampling.presets import STANDARD
from bench.statistics.robust import median
from bench.workloads.article.engine import threads
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.subjects import daily_views
from bench.workloads.article.workload import DENSE_THREADS, train_and_report
from bench.workloads.language import steps, train
from bench.workloads.language.run import LanguageRun
from estimators.units import MEBI

LANGUAGE_DEPTHS, DENSE_DEPTHS = (2, 8), (1, 6)
PRODUCT_BYTES = (MEBI, 8 * MEBI, 64 * MEBI)
"""Read before each product of the narrow language models on a CPU: weights from a small model's to a large one's."""
_NARROW = {"model_type": "gpt2", "n_embd": 32, "n_head": 2, "vocab_size": 64, "n_positions": 64}
_STEPS = {"quick": 30, "whole": 100}
_MAX_TIME_S = 120.0


def references(device: Device, size: str, cache_bytes: int) -> Iterator[Reference]:
    """Two depths for each way in which a step is driven."""
    for product_bytes in (0, *PRODUCT_BYTES) if device.kind == "cpu" else (0,):
        for depth in LANGUAGE_DEPTHS:
            for task, mode in (("decode", "forward"), ("train", "language-train")):
                yield _language(task, mode, depth, device, size, cache_bytes, product_bytes)
    for depth in DENSE_DEPTHS:
        yield _dense(depth, device, size, cache_bytes)


class _Reads:
    """Bytes read before each matrix product of a model, forward and backward, from memory, and how long that took."""

    def __init__(self, product_bytes: int, cache_bytes: int, device: Device) -> None:
        self._size = product_bytes // 4
        room = min(max(2 * cache_bytes, 2 * product_bytes), device.memory_available_bytes() // 4)
        self._data = torch.zeros(max(1, room // product_bytes), self._size) + 1  # written once: untouched pages are all the same one
        self._samples_s: list[float] = []

    def before_products_of(self, model: nn.Module) -> int:
        """Read from now on; how many products a forward pass has."""
        products = [part for part in model.modules() if type(part).__name__ in ("Conv1D", "Linear")]
        for product in products:
            product.register_forward_pre_hook(self._read)
            product.register_forward_hook(self._before_backward)
        return len(products)

    def _before_backward(self, module: nn.Module, args: object, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.register_hook(self._read)

    def _read(self, *_: object) -> None:
        begun_s = time.perf_counter()
        self._data[len(self._samples_s) % len(self._data)].sum()
        self._samples_s.append(time.perf_counter() - begun_s)

    @property
    def each_s(self) -> float:
        """What one took, the median."""
        return median(self._samples_s)


def _language(task: str, mode: str, depth: int, device: Device, size: str, cache_bytes: int, product_bytes: int) -> Reference:
    num_steps = _STEPS[size]
    new_tokens = min(num_steps, 50) if task == "decode" else 0
    run = LanguageRun(
        model="reference",
        config={**_NARROW, "n_layer": depth},
        task=task,
        batch=1,
        seq_len=8,
        new_tokens=new_tokens,
        num_beams=1,
        dtype="fp32",
        optimizer="adamw",
        recompute="none",
        job=None,
        request=Asked(model="reference", task="train"),
        device=device,
        preset=STANDARD,
        seed=0,
        attn="sdpa",
        compile=False,
        cache="dynamic",
        layers=None,
        checkpoint=None,
        trust_remote_code=False,
        tokenizer=None,
        prompt_ids=None,
        dtype_reason="the references'",
        steps=new_tokens - 1 if task == "decode" else num_steps,
        max_time_s=_MAX_TIME_S,
        learning_rate=1e-4,
    )
    calls, updates = step_operators.work(run, cache_bytes)
    entries = step_operators.entries(calls, updates, device, cache_bytes=cache_bytes, rounds=2, time_s=0.003)
    model = random_language_model(run.config, attn=run.attn, dtype=torch.float32, device=device.torch_device, seed=0).eval()
    ids = torch.zeros(1, 8, dtype=torch.long, device=device.torch_device)
    reads = _Reads(product_bytes, cache_bytes, device) if product_bytes else None
    num_reads = reads.before_products_of(model) * (1 if task == "decode" else 2) if reads else 0
    timed = (steps.decode if task == "decode" else train.train)(model, ids, run)
    return Reference(
        mode=mode,
        num_ops=step_operators.num_ops(calls, updates),
        work_s=step_operators.total_s(calls, updates, entries) + (num_reads * reads.each_s if reads else 0.0),
        samples_s=timed.phase.samples_s,
        product_bytes=product_bytes,
        passing_bytes=num_reads * product_bytes,
    )


def _dense(hidden: int, device: Device, size: str, cache_bytes: int) -> Reference:
    run = ArticleRun(
        model="reference",
        config={"model_type": "dense_network", "widths": [7, *[8] * hidden, 1], "activation": "sigmoid"},
        task="train",
        batch=16,
        seq_len=1,
        new_tokens=0,
        num_beams=1,
        dtype="fp32",
        optimizer="sgd",
        recompute="none",
        job=None,
        request=Asked(model="reference", task="train"),
        device=device,
        preset=STANDARD,
        seed=0,
        subject=daily_views(None, seed=0, days=7),
        epochs=100,
        learning_rate=3e-3,
        warmup_fraction=None,
        steps=10 * _STEPS[size],
        max_time_s=None,
        prompt="",
    )
    calls, updates = step_operators.work(run, cache_bytes)
    with threads(DENSE_THREADS):
        entries = step_operators.entries(calls, updates, device, cache_bytes=cache_bytes, rounds=2, time_s=0.003)
    with tempfile.TemporaryDirectory() as folder:
        draft = Draft(model=run.model, task=run.task, request=run.request, out=Path(folder))
        train_and_report(run, draft)
    samples_s = next(phase.samples_s for phase in draft.phases if phase.name == "train_step")
    return Reference(
        mode="dense-train",
        num_ops=step_operators.num_ops(calls, updates),
        work_s=step_operators.total_s(calls, updates, entries),
        samples_s=samples_s,
    )
