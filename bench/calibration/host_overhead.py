"""Reference models of negligible width, at two depths: what the host costs that drives a step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.backend.device import Device
from bench.backend.models import random_language_model
from bench.calibration import step_operators
from bench.records.asked import asked
from bench.records.calibration import Reference
from bench.records.draft import Draft
from bench.records.request import Request
from bench.workloads import article
from bench.workloads.article.engine import threads
from bench.workloads.article.workload import DENSE_THREADS
from bench.workloads.language import steps, train

LANGUAGE_DEPTHS, DENSE_DEPTHS = (2, 8), (1, 6)
_NARROW = {"model_type": "gpt2", "n_embd": 32, "n_head": 2, "vocab_size": 64, "n_positions": 64}
_STEPS = {"quick": 30, "whole": 100}


def references(device: Device, size: str, cache_bytes: int) -> Iterator[Reference]:
    """Two depths for each way in which a step is driven."""
    for depth in LANGUAGE_DEPTHS:
        for task, mode in (("decode", "forward"), ("train", "language-train")):
            yield _language(task, mode, depth, device, size, cache_bytes)
    for depth in DENSE_DEPTHS:
        yield _dense(depth, device, size, cache_bytes)


def _language(task: str, mode: str, depth: int, device: Device, size: str, cache_bytes: int) -> Reference:
    num_steps = _STEPS[size]
    request = Request(
        model="reference",
        config={**_NARROW, "n_layer": depth},
        task=task,
        batch=1,
        seq_len=8,
        new_tokens=min(num_steps, 50) if task == "decode" else 0,
        dtype="fp32",
        attn="sdpa",
        steps=num_steps,
        optimizer="adamw",
    )
    calls, updates = step_operators.work(request, cache_bytes)
    entries = step_operators.entries(calls, updates, device, cache_bytes=cache_bytes, rounds=2, time_s=0.003)
    model = random_language_model(request.config, attn="sdpa", dtype=torch.float32, device=device.torch_device, seed=0).eval()
    ids = torch.zeros(1, 8, dtype=torch.long, device=device.torch_device)
    timed = (steps.decode if task == "decode" else train.train)(model, ids, request, device)
    return Reference(
        mode=mode,
        num_ops=step_operators.num_ops(calls, updates),
        work_s=step_operators.total_s(calls, updates, entries),
        samples_s=timed.phase.samples_s,
    )


def _dense(hidden: int, device: Device, size: str, cache_bytes: int) -> Reference:
    config = {"model_type": "dense_network", "widths": [7, *[8] * hidden, 1], "activation": "sigmoid"}
    request = Request(model="reference", config=config, task="train", batch=16, steps=10 * _STEPS[size], optimizer="sgd")
    calls, updates = step_operators.work(request, cache_bytes)
    with threads(DENSE_THREADS):
        entries = step_operators.entries(calls, updates, device, cache_bytes=cache_bytes, rounds=2, time_s=0.003)
    with tempfile.TemporaryDirectory() as folder:
        draft = Draft(model="reference", task="train", request=asked(request), out=Path(folder))
        article.run(request, draft)
    samples_s = next(phase.samples_s for phase in draft.phases if phase.name == "train_step")
    return Reference(
        mode="dense-train",
        num_ops=step_operators.num_ops(calls, updates),
        work_s=step_operators.total_s(calls, updates, entries),
        samples_s=samples_s,
    )
