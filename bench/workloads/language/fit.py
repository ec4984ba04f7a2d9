"""Whether a run fits into memory, and which flag makes it fit: decided by arithmetic, before anything is allocated."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from bench.backend.device import Device
from bench.records.request import Request
from bench.records.run_estimate import at_depth, memory_needed
from bench.workloads.preparation import demand_memory, demanded_bytes
from bench.workloads.sizes import resolve
from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError

SPARE_FRACTION = 0.2
"""Of the free memory: what a flag that is recommended leaves, since other programs come and go."""

MAX_SLICE_LAYERS = 8
"""Slices that are recommended go no deeper: two depths make a line, and more layers only take longer."""

LEAST_SEQ_LEN = 64
"""Shorter sequences are not recommended: they are another workload."""


def held(request: Request, model: Decoder) -> dict[str, int]:
    """Bytes by part that the run needs; of slices, what the deeper one needs."""
    return memory_needed(model if request.layers is None else at_depth(request, request.layers), request)


def fits(request: Request, model: Decoder, device: Device, spare_fraction: float = 0.0) -> bool:
    """Whether the device's free memory, less a spare share of it, holds the run."""
    return demanded_bytes(held(request, model)) <= (1 - spare_fraction) * device.memory_available_bytes()


def demand_fit(request: Request, model: Decoder, device: Device) -> None:
    """Refuse a run that does not fit.

    Args:
        request: with every size decided.

    Raises:
        DoesNotFitError: one line: what is needed, what there is, and a flag that makes it fit, if any does.
    """
    slices = f" with {request.layers} layers" if request.layers else ""
    demand_memory(
        f"{request.model}{slices}, {request.task} in {request.dtype},",
        held(request, model),
        device,
        next(
            (flags for flags, smaller in _smaller(request, model) if fits(smaller, model, device, SPARE_FRACTION)),
            "no flag makes it fit: take a smaller model or a device with more memory",
        ),
    )


def _smaller(request: Request, model: Decoder) -> Iterator[tuple[str, Request]]:
    """Requests that need less, the one nearest to what was asked first, and how to ask for them."""
    for flag, change in _single_changes(request):
        yield f"make it fit with {flag}", dataclasses.replace(request, **change)
    task = "decode" if request.task == "generate" else request.task
    for layers in range(min(MAX_SLICE_LAYERS, (request.layers or model.layers) - 1), 1, -1):
        sliced = dataclasses.replace(request, task=task, layers=layers, num_beams=1)
        if request.task == "generate":
            try:
                sliced = resolve(dataclasses.replace(sliced, seq_len=None, new_tokens=None), model, prompt_tokens=None)
            except BadValueError:
                return
        flags = f"--layers {layers}" if request.task == task else f"--task {task} --layers {layers}"
        yield f"measure slices of it with {flags}", sliced


def _single_changes(request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    if request.dtype == "fp32" and request.task != "train":
        yield "--dtype bf16", {"dtype": "bf16"}
    if request.task == "train" and request.recompute == "none":
        yield "--recompute full", {"recompute": "full"}
    if (request.num_beams or 1) > 1:
        yield "--num-beams 1", {"num_beams": 1}
    if (request.batch or 1) > 1:
        yield "--batch 1", {"batch": 1}
    if request.task in ("train", "prefill"):
        seq_len = (request.seq_len or 1) // 2
        while seq_len >= LEAST_SEQ_LEN:
            yield f"--seq-len {seq_len}", {"seq_len": seq_len}
            seq_len //= 2
