"""Slices of true width at two depths, extrapolated to the full depth: how a small machine times a large model."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import torch

from bench import stats
from bench.backend.device import Device
from bench.record import Draft, Phase
from bench.request import Request
from bench.timing import OnSample
from bench.workloads.language import steps, train
from bench.workloads.language.loading import load

LAYER_KEYS = ("num_hidden_layers", "n_layer")


def depths(layers: int) -> tuple[int, int]:
    """The two depths that are measured for --layers K: half of K and K.

    >>> depths(4), depths(5)
    ((2, 4), (2, 5))
    """
    return max(1, layers // 2), layers


def with_layers(config: dict[str, Any], layers: int) -> dict[str, Any]:
    """The configuration with another number of layers and everything else as it was."""
    key = next((k for k in LAYER_KEYS if k in config), LAYER_KEYS[0])
    return {**config, key: layers}


def extrapolate(shallow: int, shallow_s: tuple[float, ...], deep: int, deep_s: tuple[float, ...], full: int) -> dict[str, Any]:
    """A line through the medians at two depths, read at the full depth.

    Returns:
        value_s at full depth; per_layer_s and fixed_s of the line; residual_fraction: the samples' robust scatter about
        their own medians, carried to the full depth by the line's arithmetic, as a share of value_s.

    >>> extrapolate(2, (3.0,), 4, (5.0,), 32)["value_s"]
    33.0
    """
    low, high = stats.median(shallow_s), stats.median(deep_s)
    per_layer_s = (high - low) / (deep - shallow)
    fixed_s = low - shallow * per_layer_s
    value_s = fixed_s + full * per_layer_s
    weight = (full - shallow) / (deep - shallow)
    scatter = (
        (weight * stats.MAD_TO_SIGMA * stats.mad(deep_s)) ** 2 + ((1 - weight) * stats.MAD_TO_SIGMA * stats.mad(shallow_s)) ** 2
    ) ** 0.5
    return {
        "shallow_layers": shallow,
        "deep_layers": deep,
        "full_layers": full,
        "per_layer_s": per_layer_s,
        "fixed_s": fixed_s,
        "value_s": value_s,
        "residual_fraction": scatter / value_s if value_s > 0 else None,
    }


def run(
    ids: torch.Tensor, request: Request, draft: Draft, device: Device, dtype: torch.dtype, full: int, on_sample: OnSample | None = None
) -> None:
    """Measure the request's task at two depths and extrapolate; weights are random, since no checkpoint is cut."""
    assert request.layers is not None
    measured: list[tuple[int, Phase]] = []
    base = {"train": "train_step"}.get(request.task, request.task)
    for depth in depths(request.layers):
        config = with_layers(request.config, depth)
        model = load(
            request, None, dtype=torch.float32 if request.task == "train" else dtype, device=device.torch_device, config=config
        ).model
        name = f"{base}@{depth}"
        if request.task == "train":
            trained = train.train(model, ids, request, device, on_sample, name)
            draft.proof |= train.proof(trained)
            phase = trained.phase
        elif request.task == "prefill":
            phase = steps.prefill(model, ids, request, device, on_sample, name)
        else:
            phase, _ = steps.decode(model, ids, request, device, on_sample, name)
        draft.add_phase(phase)
        measured.append((depth, phase))
        del model
        gc.collect()
    (shallow, first), (deep, second) = measured
    draft.extrapolation = {"phase": base} | extrapolate(shallow, first.samples_s, deep, second.samples_s, full)
    draft.extrapolation |= {"items_per_sample": second.items_per_sample, "item": second.item}


def phase_at(request: Request, depth: int) -> Request:
    """The request for one depth, as its estimate needs it."""
    return dataclasses.replace(request, config=with_layers(request.config, depth))
