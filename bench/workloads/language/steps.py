"""Single steps: prefill of a prompt, decode of single tokens after it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.backend.device import Device
from bench.backend.kv_cache import cache_name, demand_static, new_cache
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.draft import Draft
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.request import Request
from bench.sampling.clock import Clock
from bench.sampling.presets import preset
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import Samples, sample

DECODE_TIME_S = 600.0
DECODE_WARMUP = {"cpu": 2, "cuda": 5, "mps": 5}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Samples of a step, as a phase, and what proves that it was done."""

    phase: Phase
    samples: Samples
    proof: Proof


def _forward(model: nn.Module, request: Request, device: Device) -> Any:
    """The model, compiled where asked: for any length of a growing cache; for the one shape of a static one, and then as a CUDA graph."""
    if request.cache == "static":
        demand_static(model)
    if not request.compile:
        return model
    if request.cache != "static":
        return torch.compile(model, dynamic=True)
    return torch.compile(model, dynamic=False, mode="reduce-overhead" if device.kind == "cuda" else None)


def _caches(model: nn.Module, request: Request) -> Callable[[], Any]:
    """Makes an empty cache; a static one is made once, and emptied, since a CUDA graph knows it by its address."""
    if request.cache != "static":
        return functools.partial(new_cache, model)
    static = new_cache(model, static_len=(request.seq_len or 0) + (request.new_tokens or 0))

    def emptied() -> Any:
        static.reset()
        return static

    return emptied


def compiling(step: Callable[[], None], clock: Clock, request: Request) -> tuple[float, ...]:
    """Seconds of the first call where it compiles: before the sampling loop, whose time it would use up."""
    return (clock.time(step),) if request.compile else ()


def after(warmup_s: tuple[float, ...], phase: Phase) -> Phase:
    """The phase with a warm-up before its own."""
    return dataclasses.replace(phase, warmup_s=warmup_s + phase.warmup_s)


def prefill(
    model: nn.Module, ids: torch.Tensor, request: Request, device: Device, name: str = "prefill", watch: Watch = unwatched
) -> Timed:
    """Time the prompt alone, logits of the last position, into a fresh cache each time."""
    last: dict[str, torch.Tensor] = {}
    forward, cache, empty = _forward(model, request, device), cache_name(model), _caches(model, request)

    def step() -> None:
        with torch.inference_mode():
            last["logits"] = forward(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache: empty()}).logits

    asked, clock = preset(request.preset), device.clock()
    steps = request.steps or asked.max_samples[device.kind]
    compiling_s = compiling(step, clock, request)
    with sampling(name, max_samples=steps, max_time_s=request.max_time_s or asked.max_time_s) as on_sample:
        samples = sample(
            step,
            clock=clock,
            warmup_max=asked.warmup_max[device.kind],
            min_samples=min(asked.min_samples, steps),
            max_samples=steps,
            max_time_s=request.max_time_s or asked.max_time_s,
            target_fraction=asked.target_fraction,
            on_sample=on_sample,
            steady=watch(name),
        )
    finite = bool(torch.isfinite(last["logits"].float()).all()) if last else None
    phase = samples.to_phase(name, items_per_sample=ids.numel())
    return Timed(phase=after(compiling_s, phase), samples=samples, proof=Proof(logits_finite=finite))


def decode(model: nn.Module, ids: torch.Tensor, request: Request, device: Device, name: str = "decode", watch: Watch = unwatched) -> Timed:
    """Time single tokens after a prefill, greedily, each with the cache one longer; the first passes warm up on a cache of their own."""
    assert request.new_tokens is not None
    most = min(request.new_tokens - 1, request.steps or request.new_tokens)
    state: dict[str, Any] = {}
    forward, cache, empty = _forward(model, request, device), cache_name(model), _caches(model, request)

    def begin() -> None:
        with torch.inference_mode():
            state["cache"] = empty()
            logits = model(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache: state["cache"]}).logits
            state["next"] = logits[:, -1:].argmax(-1)

    def step() -> None:
        with torch.inference_mode():
            state["logits"] = forward(input_ids=state["next"], use_cache=True, **{cache: state["cache"]}).logits
            state["next"] = state["logits"][:, -1:].argmax(-1)

    begin()
    clock = device.clock()
    warmup_s = tuple(clock.time(step) for _ in range(min(DECODE_WARMUP[device.kind], request.new_tokens - 1)))
    begin()
    with sampling(name, max_samples=most, max_time_s=request.max_time_s or DECODE_TIME_S) as on_sample:
        samples = sample(
            step,
            clock=clock,
            warmup_max=0,
            min_samples=1,
            max_samples=most,
            max_time_s=request.max_time_s or DECODE_TIME_S,
            target_fraction=None,
            on_sample=on_sample,
            steady=watch(name),
        )
    context_lens = range(ids.shape[1], ids.shape[1] + len(samples.steady_s))
    phase = samples.to_phase(name, items_per_sample=ids.shape[0], context_lens=context_lens)
    proof = Proof(
        # the token of the prefill, and one for every later pass, which left its predecessor in the cache
        num_new_tokens=1 + int(state["cache"].get_seq_length()) - ids.shape[1],
        num_expected_new_tokens=1 + (most if samples.stopped_by == "count" else len(samples.steady_s)),
        logits_finite=bool(torch.isfinite(state["logits"].float()).all()),
    )
    return Timed(phase=after(warmup_s, phase), samples=samples, proof=proof)


def run(model: nn.Module, ids: torch.Tensor, request: Request, draft: Draft, device: Device, watch: Watch = unwatched) -> None:
    """The prefill or decode task on the whole model."""
    timed = (prefill if request.task == "prefill" else decode)(model, ids, request, device, watch=watch)
    draft.proof |= timed.proof
    draft.warnings += timed.samples.findings(timed.phase.name)
    draft.add_phase(timed.phase)
