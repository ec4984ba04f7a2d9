"""Slices of true width at two depths, extrapolated to the full depth: how a small machine times a large model."""

from __future__ import annotations

import gc

import torch

from bench.backend.device import Device
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.draft import Draft
from bench.records.extrapolation import Extrapolation
from bench.records.request import Request
from bench.records.run_estimate import with_layers
from bench.statistics import robust
from bench.workloads.language import steps, train
from bench.workloads.language.loading import load

STEPS = {"train": (train.train, "train_step"), "prefill": (steps.prefill, "prefill"), "decode": (steps.decode, "decode")}
"""Task to what times its step, and the name of the phase."""


def depths(layers: int) -> tuple[int, int]:
    """The two depths that are measured for --layers K: half of K and K.

    >>> depths(4), depths(5)
    ((2, 4), (2, 5))
    """
    return max(1, layers // 2), layers


def extrapolate(
    shallow: int, shallow_s: tuple[float, ...], deep: int, deep_s: tuple[float, ...], full: int, *, phase: str, items: int, item: str
) -> Extrapolation:
    """A line through the medians at two depths, read at the full depth.

    With w = (full - shallow) / (deep - shallow) the value is (1 - w)·shallow median + w·deep median, and the scatter of
    the medians' samples (1.4826 MAD) is carried there by the same weights, in quadrature.

    Args:
        phase, items, item: what the samples are of, how many of what each processes.

    >>> extrapolate(2, (3.0,), 4, (5.0,), 32, phase="decode", items=1, item="token").value_s
    33.0
    """
    low, high = robust.median(shallow_s), robust.median(deep_s)
    per_layer_s = (high - low) / (deep - shallow)
    fixed_s = low - shallow * per_layer_s
    value_s = fixed_s + full * per_layer_s
    weight = (full - shallow) / (deep - shallow)
    scatter_s = robust.MAD_TO_SIGMA * ((weight * robust.mad(deep_s)) ** 2 + ((1 - weight) * robust.mad(shallow_s)) ** 2) ** 0.5
    return Extrapolation(
        phase=phase,
        shallow_layers=shallow,
        deep_layers=deep,
        full_layers=full,
        per_layer_s=per_layer_s,
        fixed_s=fixed_s,
        value_s=value_s,
        residual_fraction=scatter_s / value_s if value_s > 0 else None,
        items_per_sample=items,
        item=item,
    )


def run(ids: torch.Tensor, request: Request, draft: Draft, device: Device, full: int, watch: Watch = unwatched) -> None:
    """Measure the request's task at two depths and extrapolate; weights are random, since no checkpoint is cut."""
    assert request.layers is not None
    time_step, base = STEPS[request.task]
    measured = []
    for depth in depths(request.layers):
        model = load(request, None, device=device.torch_device, config=with_layers(request.config, depth)).model
        timed = time_step(model, ids, request, device, f"{base}@{depth}", watch)
        draft.proof |= timed.proof
        draft.warnings += timed.samples.findings(timed.phase.name)
        draft.add_phase(timed.phase)
        measured.append(timed.phase)
        del model
        gc.collect()
    shallow, deep = measured
    at = depths(request.layers)
    draft.extrapolation = extrapolate(
        at[0], shallow.samples_s, at[1], deep.samples_s, full, phase=base, items=deep.items_per_sample, item=deep.item
    )
