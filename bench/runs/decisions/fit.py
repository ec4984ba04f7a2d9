"""Whether a run fits into memory, and which flag makes it fit: decided by arithmetic, before anything is allocated."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from bench.records.request import Request
from bench.records.run_estimate import at_depth, memory_needed
from bench.runs.decisions.sizes import sizes
from bench.workloads.language.run import LanguageRun
from bench.workloads.preparation import demand_memory, demanded_bytes
from bench.workloads.step_run import StepRun
from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.spec import Model

SPARE_FRACTION = 0.2
"""Of the free memory: what a flag that is recommended leaves, since other programs come and go."""

MAX_SLICE_LAYERS = 8
"""Slices that are recommended go no deeper: two depths make a line, and more layers only take longer."""

OF_JOB = {"recompute": "checkpointing", "batch": "micro_batch", "seq_len": "seq_len"}
"""What a run's sizes are called in a fine-tuning."""

LEAST_SEQ_LEN = 64
"""Shorter sequences are not recommended: they are another workload."""


def held(run: StepRun, model: Model) -> dict[str, int]:
    """Bytes by part that the run needs; of slices, what the deeper one needs."""
    layers = _layers(run)
    return memory_needed(model if layers is None else at_depth(run, layers), run)


def _layers(run: StepRun) -> int | None:
    return run.layers if isinstance(run, LanguageRun) else None


def fits(run: StepRun, model: Model, spare_fraction: float = 0.0) -> bool:
    """Whether the device's free memory, less a spare share of it, holds the run."""
    return demanded_bytes(held(run, model)) <= (1 - spare_fraction) * run.device.memory_available_bytes()


def demand_fit(run: StepRun, model: Model) -> None:
    """Refuse a run that does not fit.

    Raises:
        DoesNotFitError: one line: what is needed, what there is, and a flag that makes it fit, if any does.
    """
    slices = f" with {layers} layers" if (layers := _layers(run)) else ""
    demand_memory(
        f"{run.model}{slices}, {run.task} in {run.dtype},",
        held(run, model),
        run.device,
        next(
            (flags for flags, smaller in _smaller(run, model) if fits(smaller, model, SPARE_FRACTION)),
            "no flag makes it fit: take a smaller model or a device with more memory",
        ),
    )


def _smaller(run: StepRun, model: Model) -> Iterator[tuple[str, StepRun]]:
    """Runs that need less, the one nearest to what was asked first, and how to ask for them."""
    for flag, change in _single_changes(run):
        job = None if run.job is None else replace(run.job, **{OF_JOB[name]: value for name, value in change.items()})
        yield f"make it fit with {flag}", dataclasses.replace(run, **change, job=job)
    if run.job is not None or not isinstance(run, LanguageRun) or not isinstance(model, Decoder):
        return
    task = "decode" if run.task == "generate" else run.task
    for layers in range(min(MAX_SLICE_LAYERS, (run.layers or model.layers) - 1), 1, -1):
        sliced = dataclasses.replace(run, task=task, layers=layers, num_beams=1)
        if run.task == "generate":
            try:
                asked = Request(model=run.model, config=run.config, task=task, batch=run.batch, layers=layers)
                usual = sizes(asked, model, prompt_tokens=None)
            except BadValueError:
                return
            sliced = dataclasses.replace(sliced, **usual._asdict())
        flags = f"--layers {layers}" if run.task == task else f"--task {task} --layers {layers}"
        yield f"measure slices of it with {flags}", sliced


def _single_changes(run: StepRun) -> Iterator[tuple[str, dict[str, Any]]]:
    if run.dtype == "fp32" and run.task != "train":
        yield "--dtype bf16", {"dtype": "bf16"}
    if run.task == "train" and run.recompute == "none" and isinstance(run, LanguageRun):
        yield "--recompute full", {"recompute": "full"}
    if run.num_beams > 1:
        yield "--num-beams 1", {"num_beams": 1}
    if run.batch > 1:
        yield "--batch 1", {"batch": 1}
    if run.task in ("train", "prefill"):
        seq_len = run.seq_len // 2
        while seq_len >= LEAST_SEQ_LEN:
            yield f"--seq-len {seq_len}", {"seq_len": seq_len}
            seq_len //= 2
