"""One run of a causal language model, from request to filled draft."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from bench.backend import device as devices
from bench.backend.counting.crosscheck_counts import language_counts
from bench.backend.device import Device
from bench.machine.meters.instruments import Watch
from bench.records.asked import asked
from bench.records.draft import Draft
from bench.records.environment import Environment
from bench.records.estimated import Estimated
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.request import Request
from bench.records.run_estimate import predict
from bench.sampling.presets import preset
from bench.workloads.language import dtypes, generate, inputs, loading, slices, steps, train
from bench.workloads.language.flags import refuse_meaningless
from bench.workloads.preparation import add_ceilings, add_observer_cost, add_peak_memory, watched
from bench.workloads.sizes import ARTICLE_PROMPT, resolve
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config, read_config
from estimators.errors import BadConfigError

Say = Callable[[str], None]


def measure(request: Request, draft: Draft, hub_id: str | None, say: Say, foresee: Callable[[Request, Device], None] | None = None) -> None:
    """Decide what is open, estimate, check, count, load, run; every part goes into the draft.

    Args:
        foresee: predicts the decided request's step from a calibration.

    Raises:
        RequestError: the request cannot be met.
    """
    refuse_meaningless(request)
    checkpoint = loading.find_checkpoint(request, hub_id)
    if checkpoint and request.weights:
        request = dataclasses.replace(request, config=read_config(checkpoint.place))
    model = model_from_config(request.config, request.model)
    if not isinstance(model, Decoder) or model.left_out:
        reason = "takes more than text" if isinstance(model, Decoder) else "is no causal language model"
        raise BadConfigError(f"{request.model} {reason}; expected a causal language model for --task {request.task}")
    device = devices.choose(request.device)
    tokenizer = loading.load_tokenizer(checkpoint, request.trust_remote_code) if request.task == "generate" else None
    encoded = inputs.encode(request, tokenizer, model.vocab)
    request = resolve(request, model, prompt_tokens=None if encoded is None else int(encoded.shape[1]))
    dtype, why = dtypes.decide(request, model, device)
    request = dataclasses.replace(
        request,
        dtype=dtype,
        device=str(device.torch_device),
        attn=request.attn or "sdpa",
        prompt=(request.prompt or ARTICLE_PROMPT) if encoded is not None else request.prompt,
    )
    weights = checkpoint.label if checkpoint else loading.RANDOM_WEIGHTS
    draft.environment |= Environment(device=device.describe())
    thorough = preset(request.preset)
    draft.request = asked(request).replaced(
        preset_values=thorough.values(),
        dtype_reason=why,
        weights_label=weights,
        input_label=inputs.label(request, encoded),
    )
    draft.estimate = predict(model, request, device.hardware())
    say(f"{request.model}, {request.task}, {weights}, on {device.name} in {dtype} ({why})")
    say("counting on the meta device: op table, torch, fvcore")
    draft.counts = language_counts(request, model)
    say("measuring this machine's matmul rate and memory bandwidth")
    add_ceilings(draft, device, dtype)
    add_observer_cost(draft, device, thorough.overhead_rounds)
    if foresee is not None:
        foresee(request, device)
    device.reset_peak()
    ids = inputs.token_ids(request, encoded, model.vocab, device.torch_device)
    with watched(draft, device, thorough.idle_s) as watch:
        if request.layers is not None:
            say(f"measuring slices of {' and '.join(map(str, slices.depths(request.layers)))} layers of {model.layers}")
            slices.run(ids, request, draft, device, model.layers, watch)
        else:
            output = _run(ids, request, draft, device, checkpoint, say, watch, profiling=foresee is not None)
            if output is not None:
                draft.learning |= Learning(output_ids=tuple(output[0].tolist()))
                if tokenizer is not None:
                    draft.learning |= Learning(output_text=tokenizer.decode(output[0], skip_special_tokens=True))
    add_peak_memory(draft, device)


def _run(
    ids: torch.Tensor,
    request: Request,
    draft: Draft,
    device: Device,
    checkpoint: loading.Checkpoint | None,
    say: Say,
    watch: Watch,
    profiling: bool,
) -> torch.Tensor | None:
    """The whole model. Returns the token ids of a generation; None for other tasks."""
    say("loading the weights" if checkpoint else f"drawing {draft.estimate.params:,} random weights")
    loaded = loading.load(request, checkpoint, device=device.torch_device)
    draft.add_phase(Phase(name="load", samples_s=(loaded.load_s,), item="model"))
    draft.proof |= Proof(num_params=sum(p.numel() for p in loaded.model.parameters()))
    say(f"loaded in {loaded.load_s:.1f} s; running")
    if request.task == "generate":
        return generate.run(loaded.model, ids, request, draft, device, watch)
    if request.task == "train":
        train.run(loaded.model, ids, request, draft, device, watch)
    else:
        steps.run(loaded.model, ids, request, draft, device, watch)
    predicted = draft.estimate.local
    if profiling and predicted:
        from bench.backend.operators.profiler import seconds_by_group
        from bench.calibration.traced_step import step_of

        say("profiling a few more steps")
        taken_s = seconds_by_group(step_of(loaded.model, ids, request), device)
        draft.estimate |= Estimated(local=predicted.replaced(profiled_s=taken_s))
    return None
