"""One run of an article's model, from request to filled draft: estimate, counts and ceilings first, then the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bench.backend import device as devices
from bench.backend.counting.crosscheck_counts import dense_counts, language_counts
from bench.backend.device import Device
from bench.records.asked import asked
from bench.records.draft import Draft
from bench.records.environment import Environment
from bench.records.request import Request
from bench.records.run_estimate import predict
from bench.sampling.presets import preset
from bench.workloads import article
from bench.workloads.article.networks import build
from bench.workloads.preparation import add_ceilings, add_observer_cost, demand_memory
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError

Say = Callable[[str], None]
Foresee = Callable[[Request, Device], None]


def measure(request: Request, draft: Draft, say: Say, foresee: Foresee | None = None) -> None:
    """Decide what is open, estimate, check, count, train; on ranks other than the main one only train.

    Args:
        foresee: predicts the decided request's step from a calibration.

    Raises:
        RequestError: the request cannot be met.
    """
    if request.task != "train":
        raise BadValueError(f"{request.model} has no {request.task} task; it is trained: leave --task out or say --task train")
    decided = article.plan(request)
    resolved = dataclasses.replace(
        request,
        config=decided.config,
        batch=article.steady_batch(request),
        seq_len=decided.seq_len,
        optimizer=decided.optimizer,
        dtype=request.dtype or "fp32",
    )
    if article.is_main():
        _prepare(resolved, draft, say)
        if foresee is not None:
            foresee(dataclasses.replace(request, dtype=resolved.dtype), devices.choose(request.device))
    article.run(request, draft)


def _prepare(request: Request, draft: Draft, say: Say) -> None:
    model = model_from_config(request.config, request.model)
    device = devices.choose(request.device)
    draft.environment |= Environment(device=device.describe())
    thorough = preset(request.preset)
    draft.request = asked(request).replaced(preset_values=thorough.values(), weights_label="trained from random weights")
    draft.estimate = predict(model, request, device.hardware())
    demand_memory(
        f"{request.model} with batch {request.batch}",
        draft.estimate.memory_bytes,
        device,
        "take a smaller --batch, --neurons or --hidden-layers",
    )
    say(f"{request.model}: {draft.estimate.params:,} parameters, batch {request.batch}, on {device.name}")
    draft.counts = language_counts(request, model) if isinstance(model, Decoder) else dense_counts(request, model, build)
    add_ceilings(draft, device, request.dtype or "fp32")
    add_observer_cost(draft, device, thorough.overhead_rounds)
