"""One run of a causal language model, from request to filled draft."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.backend import device as devices
from bench.backend.device import Device
from bench.backend.faster_dtype import faster_dtype_cpu
from bench.backend.routes import language_counts
from bench.prediction import at_depth, predict
from bench.record import Draft
from bench.request import Request
from bench.workloads.language import generate, loading, slices, steps, train
from bench.workloads.preparation import add_ceilings, add_peak_memory, demand_memory
from bench.workloads.sizes import ARTICLE_PROMPT, resolve
from estimators.architectures.decoder import Decoder
from estimators.errors import BadConfigError, BadValueError
from estimators.hf_config import model_from_config, read_config

Say = Callable[[str], None]
COMPUTE_DTYPES = ("fp32", "bf16", "fp16")


def measure(request: Request, draft: Draft, hub_id: str | None, say: Say) -> None:
    """Decide what is open, estimate, check, count, load, run; every part goes into the draft.

    Raises:
        RequestError: the request cannot be met.
    """
    checkpoint = loading.find_checkpoint(request, hub_id)
    if checkpoint and request.weights:
        request = dataclasses.replace(request, config=read_config(checkpoint))
    model = model_from_config(request.config, request.model)
    if not isinstance(model, Decoder):
        raise BadConfigError(f"{request.model} is no causal language model; expected one for --task {request.task}")
    device = devices.choose(request.device)
    tokenizer = loading.load_tokenizer(checkpoint, request.trust_remote_code) if request.task == "generate" else None
    prompt = request.prompt or ARTICLE_PROMPT
    encoded = None if tokenizer is None or request.seq_len else tokenizer(prompt, return_tensors="pt").input_ids
    request = resolve(request, model, prompt_tokens=None if encoded is None else int(encoded.shape[1]))
    dtype, why = _dtype(request, device, model)
    request = dataclasses.replace(request, dtype=dtype, device=str(device.torch_device), attn=request.attn or "sdpa", prompt=prompt)
    weights = f"checkpoint {Path(checkpoint).name}" if checkpoint else loading.RANDOM_WEIGHTS
    draft.environment["device"] = device.describe()
    draft.request = request.to_dict() | {
        "dtype_reason": why,
        "weights_label": weights,
        "prompt_label": "tokenized" if encoded is not None else f"{request.seq_len} random token ids stand in for text",
    }
    draft.estimate = predict(model, request, device.hardware())
    _demand_fit(request, model, device, draft.estimate)
    say(f"{request.model}, {request.task}, {weights}, on {device.name} in {dtype} ({why})")
    say("counting on the meta device: op table, torch, fvcore")
    draft.counts = language_counts(request, model)
    say("measuring this machine's matmul rate and memory bandwidth")
    add_ceilings(draft, device, dtype)
    device.reset_peak()
    ids = encoded.to(device.torch_device) if encoded is not None else stand_in(request, model.vocab, device)
    if request.layers is not None:
        say(f"measuring slices of {' and '.join(map(str, slices.depths(request.layers)))} layers of {model.layers}")
        slices.run(ids, request, draft, device, devices.dtype(dtype), model.layers)
    else:
        _run(ids, request, draft, device, checkpoint, tokenizer, say)
    add_peak_memory(draft, device)


def _run(
    ids: torch.Tensor, request: Request, draft: Draft, device: Device, checkpoint: str | None, tokenizer: Any | None, say: Say
) -> None:
    assert request.dtype
    dtype = torch.float32 if request.task == "train" else devices.dtype(request.dtype)
    say("loading the weights" if checkpoint else f"drawing {draft.estimate['params']:,} random weights")
    loaded = loading.load(request, checkpoint, dtype=dtype, device=device.torch_device, config=request.config)
    draft.learning["load_s"] = loaded.load_s
    say(f"loaded in {loaded.load_s:.1f} s; running")
    if request.task == "generate":
        output = generate.run(loaded.model, ids, request, draft, device)
        if output is not None:
            draft.learning["output_ids"] = output[0].tolist()
            if tokenizer is not None:
                draft.learning["output_text"] = tokenizer.decode(output[0], skip_special_tokens=True)
    elif request.task == "train":
        train.run(loaded.model, ids, request, draft, device)
    else:
        steps.run(loaded.model, ids, request, draft, device)


def _dtype(request: Request, device: Device, model: Decoder) -> tuple[str, str]:
    """The dtype of compute, and why."""
    if request.dtype:
        if request.dtype not in COMPUTE_DTYPES:
            raise BadValueError(f"cannot compute in dtype {request.dtype[:40]!r}; expected one of: {', '.join(COMPUTE_DTYPES)}")
        return request.dtype, "as asked"
    if device.kind != "cpu":
        return "bf16", "the accelerator's usual"
    rows = (request.batch or 1) * (request.num_beams or 1) * (request.seq_len or 1 if request.task in ("train", "prefill") else 1)
    choice = faster_dtype_cpu(min(rows, 1024), model.ffn_width, model.width)
    return choice.winner, f"measured the faster here for {choice.shape}"


def stand_in(request: Request, vocab: int, device: Device) -> torch.Tensor:
    """Seeded random token ids of the request's size."""
    generator = torch.Generator().manual_seed(request.seed)
    return torch.randint(0, vocab, (request.batch or 1, request.seq_len or 1), generator=generator).to(device.torch_device)


def _demand_fit(request: Request, model: Decoder, device: Device, estimate: dict[str, Any]) -> None:
    if request.layers is not None:
        sliced = predict(at_depth(model, request.layers), request, None)
        demand_memory(
            f"{request.model} with {request.layers} layers, {request.task},",
            sliced["memory_bytes"],
            device,
            "take fewer --layers or a smaller --batch",
        )
        return
    mend = "take a smaller --batch or --seq-len"
    if request.task != "generate":
        fitting = next((n for n in range(model.layers - 1, 1, -1) if _fits(request, model, n, device)), None)
        mend = f"measure slices with --layers {fitting}" if fitting else mend
    elif request.dtype == "fp32":
        mend = "halve the weights with --dtype bf16"
    else:
        mend = "it generates on no slice: use --task decode with --layers 4, or a device with more memory"
    demand_memory(f"{request.model}, {request.task} in {request.dtype},", estimate["memory_bytes"], device, mend)


def _fits(request: Request, model: Decoder, layers: int, device: Device) -> bool:
    needed = sum(predict(at_depth(model, layers), request, None)["memory_bytes"].values())
    return needed < 0.8 * device.memory_available_bytes()
