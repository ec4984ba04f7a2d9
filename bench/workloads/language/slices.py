"""Slices of true width at two depths, extrapolated to the full depth: how a small machine times a large model."""

from __future__ import annotations

import gc

import torch

from bench.machine.meters.instruments import Watch, unwatched
from bench.records.draft import Draft
from bench.records.extrapolation import Extrapolation
from bench.records.run_estimate import with_layers
from bench.statistics import robust
from bench.workloads.language import steps, train
from bench.workloads.language.loading import load
from bench.workloads.language.run import LanguageRun

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


def measure(ids: torch.Tensor, run: LanguageRun, layers: int, draft: Draft, full: int, watch: Watch = unwatched) -> None:
    """Measure the run's task with half of the layers and with all of them, and extrapolate to `full`; weights are random."""
    time_step, base = STEPS[run.task]
    measured = []
    for depth in depths(layers):
        model = load(run, with_layers(run.config, depth)).model
        timed = time_step(model, ids, run, f"{base}@{depth}", watch)
        timed.keep(draft)
        measured.append(timed.phase)
        del model
        gc.collect()
    shallow, deep = measured
    of = depths(layers)
    draft.extrapolation = extrapolate(
        of[0], shallow.samples_s, of[1], deep.samples_s, full, phase=base, items=deep.items_per_sample, item=deep.item
    )
