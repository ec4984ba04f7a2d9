"""Single steps: prefill of a prompt, decode of single tokens after it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.backend.kv_cache import cache_name, demand_static, new_cache
from bench.machine.meters.instruments import Watch, unwatched
from bench.records.proof import Proof
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import sample
from bench.workloads.language.run import LanguageRun
from bench.workloads.timed import Timed, after, sampled

DECODE_WARMUP = {"cpu": 2, "cuda": 5, "mps": 5}


def _forward(model: nn.Module, run: LanguageRun) -> Any:
    """The model, compiled where asked: for any length of a growing cache; for the one shape of a static one, and then as a CUDA graph."""
    if run.cache == "static":
        demand_static(model)
    if not run.compile:
        return model
    if run.cache != "static":
        return torch.compile(model, dynamic=True)
    return torch.compile(model, dynamic=False, mode="reduce-overhead" if run.device.kind == "cuda" else None)


def _caches(model: nn.Module, run: LanguageRun) -> Callable[[], Any]:
    """Makes an empty cache; a static one is made once, and emptied, since a CUDA graph knows it by its address."""
    if run.cache != "static":
        return functools.partial(new_cache, model)
    static = new_cache(model, static_len=(run.seq_len or 0) + (run.new_tokens or 0))

    def emptied() -> Any:
        static.reset()
        return static

    return emptied


def prefill(model: nn.Module, ids: torch.Tensor, run: LanguageRun, name: str = "prefill", watch: Watch = unwatched) -> Timed:
    """Time the prompt alone, logits of the last position, into a fresh cache each time."""
    last: dict[str, torch.Tensor] = {}
    forward, cache, empty = _forward(model, run), cache_name(model), _caches(model, run)

    def step() -> None:
        with torch.inference_mode():
            last["logits"] = forward(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache: empty()}).logits

    compiling_s, samples = sampled(step, run, name, watch)
    finite = bool(torch.isfinite(last["logits"].float()).all()) if last else None
    phase = samples.to_phase(name, items_per_sample=ids.numel())
    return Timed(phase=after(compiling_s, phase), samples=samples, proof=Proof(logits_finite=finite))


def decode(model: nn.Module, ids: torch.Tensor, run: LanguageRun, name: str = "decode", watch: Watch = unwatched) -> Timed:
    """Time single tokens after a prefill, greedily, each with the cache one longer; the first passes warm up on a cache of their own."""
    state: dict[str, Any] = {}
    forward, cache, empty = _forward(model, run), cache_name(model), _caches(model, run)

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
    clock = run.device.clock()
    warmup_s = tuple(clock.time(step) for _ in range(min(DECODE_WARMUP[run.device.kind], run.new_tokens - 1)))
    begin()
    with sampling(name, max_samples=run.steps, max_time_s=run.max_time_s) as on_sample:
        samples = sample(
            step,
            clock=clock,
            warmup_max=0,
            min_samples=1,
            max_samples=run.steps,
            max_time_s=run.max_time_s,
            target_fraction=None,
            on_sample=on_sample,
            steady=watch(name),
        )
    context_lens = range(ids.shape[1], ids.shape[1] + len(samples.steady_s))
    phase = samples.to_phase(name, items_per_sample=ids.shape[0], context_lens=context_lens)
    proof = Proof(
        # the token of the prefill, and one for every later pass, which left its predecessor in the cache
        num_new_tokens=1 + int(state["cache"].get_seq_length()) - ids.shape[1],
        num_expected_new_tokens=1 + (run.steps if samples.stopped_by == "count" else len(samples.steady_s)),
        logits_finite=bool(torch.isfinite(state["logits"].float()).all()),
    )
    return Timed(phase=after(warmup_s, phase), samples=samples, proof=proof)
