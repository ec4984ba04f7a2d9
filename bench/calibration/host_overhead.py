"""Reference models of negligible width, at two depths: what the host costs that drives a step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.backend.device import Device
from bench.backend.models import random_language_model
from bench.calibration import step_operators
from bench.records.asked import Asked
from bench.records.calibration import Reference
from bench.records.draft import Draft
from bench.sampling.presets import STANDARD
from bench.workloads.article.engine import threads
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.subjects import daily_views
from bench.workloads.article.workload import DENSE_THREADS, train_and_report
from bench.workloads.language import steps, train
from bench.workloads.language.run import LanguageRun

LANGUAGE_DEPTHS, DENSE_DEPTHS = (2, 8), (1, 6)
_NARROW = {"model_type": "gpt2", "n_embd": 32, "n_head": 2, "vocab_size": 64, "n_positions": 64}
_STEPS = {"quick": 30, "whole": 100}
_MAX_TIME_S = 120.0


def references(device: Device, size: str, cache_bytes: int) -> Iterator[Reference]:
    """Two depths for each way in which a step is driven."""
    for depth in LANGUAGE_DEPTHS:
        for task, mode in (("decode", "forward"), ("train", "language-train")):
            yield _language(task, mode, depth, device, size, cache_bytes)
    for depth in DENSE_DEPTHS:
        yield _dense(depth, device, size, cache_bytes)


def _language(task: str, mode: str, depth: int, device: Device, size: str, cache_bytes: int) -> Reference:
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
    timed = (steps.decode if task == "decode" else train.train)(model, ids, run)
    return Reference(
        mode=mode,
        num_ops=step_operators.num_ops(calls, updates),
        work_s=step_operators.total_s(calls, updates, entries),
        samples_s=timed.phase.samples_s,
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
