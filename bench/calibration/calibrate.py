"""One calibration, from nothing to a file's content."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence

import torch

from bench.backend import sustained
from bench.backend.collectives import Collective, collectives
from bench.backend.device import Device
from bench.backend.operators import calibration_operators, optimizers
from bench.backend.operators.trace import Call
from bench.calibration import host_overhead, step_operators
from bench.machine import environment
from bench.records.calibration import COLLECTIVE, Calibration, Entry
from bench.records.environment import DeviceFacts
from bench.records.record import Ceiling
from bench.statistics.robust import median
from bench.workloads.article.run import ArticleRun
from bench.workloads.step_run import StepRun
from estimators.errors import UnavailableError
from estimators.units import MEBI

Say = Callable[[str], None]

DTYPES = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16"), "mps": ("fp32", "fp16")}
_TIME_S = {"quick": 0.5, "whole": 3.0}
_EACH_S = {"quick": 0.004, "whole": 0.02}


def calibrate(device: Device, *, quick: bool, say: Say, processes: int | None = None) -> Calibration:
    """Measure the device: rates, launches, products and other operators by shape, optimizers by size, what the host costs.

    Args:
        processes: that collectives are measured between; None takes one for each GPU, and leaves them out where there is one.
    """
    size = "quick" if quick else "whole"
    cached, unavailable, entries = device.cache_bytes(), dict[str, str](), list[Entry]()
    say("memory bandwidth and launches")
    ceilings: list[Ceiling] = list(sustained.memory_rates(device, _TIME_S[size] / 3))
    op_s = sustained.launch_s(device)
    for dtype_name in DTYPES[device.kind]:
        say(f"products in {dtype_name}: burst, sustained, and over shapes")
        try:
            ceilings += sustained.matmul_rates(device, dtype_name, _TIME_S[size])
        except RuntimeError as error:
            unavailable[f"matmul.{dtype_name}"] = str(error).splitlines()[0][:160]
            continue
        entries += _timed(calibration_operators.products(size, dtype_name), "grid", device, cached, size)
        say(f"attention and element-wise operators in {dtype_name}")
        entries += _timed(
            [*calibration_operators.attention(size, dtype_name), *calibration_operators.element_wise(size, dtype_name)],
            "curve",
            device,
            cached,
            size,
        )
    say("optimizers")
    for name in optimizers.BYTES_PER_PARAM:
        for num_params in optimizers.SIZES[size]:
            samples_s = optimizers.sample(num_params, name, device, cache_bytes=cached, num_steps=step_operators.OPTIMIZER_STEPS)
            entries.append(step_operators.entry(optimizers.piece(num_params, name), samples_s, "curve"))
    say("what the host costs: narrow models of two depths, forward and trained")
    references = tuple(host_overhead.references(device, size, cached))
    if device.kind != "cuda":
        unavailable["host to device"] = "the device is the host"
    between, why = _collectives(device, processes, size, say)
    unavailable |= {"collectives": why} if why else {}
    return Calibration(
        created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        device=device.describe() | DeviceFacts(cache_bytes=cached),
        environment=environment.collect(),
        ceilings=(*ceilings, *_fastest(between)),
        entries=tuple({each.key: each for each in [*entries, *(_between(each) for each in between)]}.values()),
        references=references,
        op_s=op_s,
        unavailable=unavailable,
    )


def _collectives(device: Device, processes: int | None, size: str, say: Say) -> tuple[list[Collective], str]:
    """Between that many processes, or why not."""
    num = processes or (torch.cuda.device_count() if device.kind == "cuda" else 1)
    if num < 2:
        return [], "between one process there are none; name more with --processes"
    say(f"collectives between {num} processes")
    try:
        return collectives(device, num, size), ""
    except UnavailableError as error:
        return [], str(error)


def _between(collective: Collective) -> Entry:
    key = f"{collective.kind} of {collective.num_bytes} bytes between {collective.processes} over {collective.over}"
    return Entry(
        key=key,
        kind=collective.kind,
        group=COLLECTIVE,
        dtype="fp32",
        role=COLLECTIVE,
        num_bytes=collective.num_bytes,
        flop=0,
        samples_s=collective.samples_s,
    )


def _fastest(timed: Sequence[Collective]) -> list[Ceiling]:
    """Of each kind, the rate at which the largest size crosses the links, per process."""
    largest = {collective.kind: collective for collective in sorted(timed, key=lambda collective: collective.num_bytes)}
    return [
        Ceiling(
            kind=collective.kind,
            value=collective.bus_bytes / median(collective.samples_s),
            dtype="fp32",
            shape=f"{collective.num_bytes // MEBI} MiB between {collective.processes} processes over {collective.over}",
            samples_s=collective.samples_s,
            work=collective.bus_bytes,
        )
        for collective in largest.values()
    ]


def _timed(calls: Sequence[Call], role: str, device: Device, cached: int, size: str) -> list[Entry]:
    unique = list({call.piece.key: call for call in calls}.values())
    return step_operators.entries(unique, (), device, cache_bytes=cached, rounds=2, time_s=_EACH_S[size], role=role)


def with_model(calibration: Calibration, runs: Sequence[ArticleRun | StepRun], *, say: Say) -> Calibration:
    """The calibration with a model's own operators in it, those of every run's step."""
    entries = list[Entry]()
    for run in runs:
        say(f"{run.model}: operators of {run.task} in {run.dtype}")
        cached = run.device.cache_bytes()
        calls, updates = step_operators.work(run, cached)
        entries += step_operators.entries(calls, updates, run.device, cache_bytes=cached, rounds=2, time_s=_EACH_S["whole"])
    models = dict.fromkeys((*calibration.models, *(run.model for run in runs)))
    return dataclasses.replace(calibration.with_entries(entries), models=tuple(models))
