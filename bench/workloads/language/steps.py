"""Single steps: prefill of a prompt, decode of single tokens after it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.backend.device import Device
from bench.record import Draft, Phase
from bench.request import Request
from bench.timing import OnSample, sample

DEFAULT_STEPS = {"cpu": 5, "cuda": 50, "mps": 20}
DEFAULT_TIME_S = 60.0


def _new_cache(model: nn.Module) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=model.config)


def prefill(
    model: nn.Module, ids: torch.Tensor, request: Request, device: Device, on_sample: OnSample | None = None, name: str = "prefill"
) -> Phase:
    """Time the prompt alone, logits of the last position, into a fresh cache each time."""
    last: dict[str, torch.Tensor] = {}

    def step() -> None:
        with torch.inference_mode():
            last["logits"] = model(input_ids=ids, past_key_values=_new_cache(model), use_cache=True, logits_to_keep=1).logits

    steps = request.steps or DEFAULT_STEPS[device.kind]
    samples = sample(
        step,
        clock=device.clock(),
        warmup_max=3 if device.kind == "cpu" else 20,
        min_samples=min(3, steps),
        max_samples=steps,
        max_time_s=request.max_time_s or DEFAULT_TIME_S,
        on_sample=on_sample,
    )
    assert torch.isfinite(last["logits"].float()).all(), "the prefill's logits are not finite"
    return samples.to_phase(name, items_per_sample=ids.numel())


def decode(
    model: nn.Module, ids: torch.Tensor, request: Request, device: Device, on_sample: OnSample | None = None, name: str = "decode"
) -> tuple[Phase, int]:
    """Time single tokens after a prefill, greedily, each with the cache one longer; the first passes warm up on a cache of their own.

    Returns:
        The phase, with context lengths; and how many tokens were generated, the prefill's one included.
    """
    new_tokens = request.new_tokens or 2
    state: dict[str, Any] = {}
    forward = torch.compile(model, dynamic=True) if request.compile else model

    def begin() -> None:
        with torch.inference_mode():
            state["cache"] = _new_cache(model)
            logits = model(input_ids=ids, past_key_values=state["cache"], use_cache=True, logits_to_keep=1).logits
            state["next"] = logits[:, -1:].argmax(-1)

    def step() -> None:
        with torch.inference_mode():
            logits = forward(input_ids=state["next"], past_key_values=state["cache"], use_cache=True).logits
            state["next"] = logits[:, -1:].argmax(-1)

    begin()
    clock = device.clock()
    warmup_s = tuple(clock.time(step) for _ in range(2 if device.kind == "cpu" else 5))
    begin()
    samples = sample(
        step,
        clock=clock,
        warmup_max=0,
        min_samples=1,
        max_samples=new_tokens - 1,
        max_time_s=request.max_time_s or 10 * DEFAULT_TIME_S,
        target_fraction=None,
        on_sample=on_sample,
    )
    context_lens = range(ids.shape[1], ids.shape[1] + len(samples.steady_s))
    phase = samples.to_phase(name, items_per_sample=ids.shape[0], context_lens=context_lens)
    import dataclasses

    return dataclasses.replace(phase, warmup_s=warmup_s), 1 + len(samples.steady_s)


def run(model: nn.Module, ids: torch.Tensor, request: Request, draft: Draft, device: Device, on_sample: OnSample | None = None) -> None:
    """The prefill or decode task on the whole model."""
    if request.task == "prefill":
        draft.add_phase(prefill(model, ids, request, device, on_sample))
        return
    phase, generated = decode(model, ids, request, device, on_sample)
    draft.proof |= {"num_new_tokens": generated, "num_expected_new_tokens": request.new_tokens}
    draft.add_phase(phase)
