"""The article's own call: a whole generation with beams, its prefill and every decode step timed apart."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from torch import nn

from bench.backend.device import Device
from bench.backend.stamps import Stamps
from bench.record import Draft, Phase
from bench.request import Request

ARTICLE_SAMPLING = {"no_repeat_ngram_size": 2, "top_k": 50, "top_p": 0.95, "temperature": 0.7}
"""The article's own arguments. Beam search without sampling ignores the last three, in the article's call as here."""


def generate_kwargs(request: Request) -> dict[str, Any]:
    """Arguments of `model.generate`. min_length = max_length, so that an early end of text cannot change the work."""
    length = (request.seq_len or 0) + (request.new_tokens or 0)
    return {
        "max_length": length,
        "min_length": length,
        "num_beams": request.num_beams,
        "do_sample": False,
        "pad_token_id": 0,
        **ARTICLE_SAMPLING,
    }


def run(model: nn.Module, ids: torch.Tensor, request: Request, draft: Draft, device: Device) -> torch.Tensor | None:
    """Warm up with two tokens, then time whole generations until `steps` or `max_time_s`, one at least.

    Adds the phases generate (wall time), prefill and decode (forward passes alone) and between (the rest: beam search,
    logits processing, cache reordering), and the proof: tokens generated, rows and lengths of every forward pass.

    Returns:
        The last output's token ids; None when interrupted before the first generation ended.
    """
    kwargs = generate_kwargs(request)
    prompt = request.seq_len or 0
    generate_s: list[float] = []
    prefill_s: list[float] = []
    decode_s: list[float] = []
    between_s: list[float] = []
    context_lens: list[int] = []
    stopped_by, output, as_planned = "count", None, True
    clock_name = "device-event" if device.torch_device.type == "cuda" else "host"
    start = time.perf_counter()
    warmup = _once(model, ids, kwargs | {"max_length": prompt + min(2, request.new_tokens or 1), "min_length": 0}, device)
    try:
        while len(generate_s) < (request.steps or 3):
            total_s, stamps, output = _once(model, ids, kwargs, device)
            forwards = stamps.forward_s()
            as_planned = as_planned and stamps.shapes == _planned_shapes(request)
            generate_s.append(total_s)
            prefill_s.append(forwards[0])
            decode_s.extend(forwards[1:])
            context_lens.extend(range(prompt, prompt + len(forwards) - 1))
            between_s.append(total_s - sum(forwards))
            if time.perf_counter() - start > (request.max_time_s or 60.0):
                stopped_by = "time"
                break
    except KeyboardInterrupt:
        stopped_by = "interrupt"
    rows = ids.shape[0] * (request.num_beams or 1)
    new_tokens = request.new_tokens or 0
    if output is not None:
        draft.proof |= {
            "num_new_tokens": int(output.shape[1]) - prompt,
            "num_expected_new_tokens": new_tokens,
            "num_forward_passes": 1 + len(decode_s) // max(1, len(generate_s)),
            "forward_shapes_as_planned": as_planned,
            "num_distinct_new_tokens": len(set(output[0, prompt:].tolist())),
        }
    phases = [
        Phase(name="prefill", samples_s=tuple(prefill_s), items_per_sample=rows * prompt, clock=clock_name, stopped_by="count"),
        Phase(name="decode", samples_s=tuple(decode_s), items_per_sample=rows, context_lens=tuple(context_lens), clock=clock_name),
        Phase(name="between", samples_s=tuple(between_s), items_per_sample=ids.shape[0] * new_tokens),
        Phase(
            name="generate",
            samples_s=tuple(generate_s),
            warmup_s=(warmup[0],),
            items_per_sample=ids.shape[0] * new_tokens,
            stopped_by=stopped_by,
        ),
    ]
    for phase in phases:
        if phase.samples_s or phase.stopped_by == "interrupt":
            draft.add_phase(phase)
    return output


def _once(model: nn.Module, ids: torch.Tensor, kwargs: dict[str, Any], device: Device) -> tuple[float, Stamps, torch.Tensor]:
    device.synchronize()
    start = time.perf_counter()
    with Stamps(model, device.torch_device) as stamps, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = model.generate(ids, attention_mask=torch.ones_like(ids), **kwargs)
        device.synchronize()
    return time.perf_counter() - start, stamps, output


def _planned_shapes(request: Request) -> list[tuple[int, int]]:
    """Rows and tokens of every forward pass that the estimate counts: one prefill of all rows, then single tokens."""
    rows = (request.batch or 1) * (request.num_beams or 1)
    return [(rows, request.seq_len or 0)] + [(rows, 1)] * ((request.new_tokens or 1) - 1)
