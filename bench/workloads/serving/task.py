"""One serving run, from what was decided to a filled draft."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

from bench.backend.paged_cache import demand_continuous_batching
from bench.machine.meters.instruments import Watch
from bench.records.draft import Draft
from bench.records.environment import Environment
from bench.records.estimated import Estimated, PredictedServing
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.run_estimate import predict
from bench.records.served import EngineSteps, ServedLoad, kept
from bench.sampling.progress import sampling
from bench.workloads.language import loading
from bench.workloads.preparation import add_ceilings, add_peak_memory, watched
from bench.workloads.serving.engine import Answered, Stopped, prompts_of, serve
from bench.workloads.serving.run import ServingRun
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.serving.kv_cache import kv_bytes_per_token
from estimators.serving.results.result import Load, Served, ServingResult

Say = Callable[[str], None]

ENGINE = "transformers"


def measure(run: ServingRun, draft: Draft, say: Say, predict_run: Callable[[], PredictedServing | None]) -> None:
    """Estimate, predict, load, serve; every part goes into the draft.

    Args:
        predict_run: predicts the run from a calibration; None where it cannot.

    Raises:
        UnavailableError: transformers has no continuous batching, or its engine failed.
        KeyboardInterrupt: after what was answered was added.
    """
    demand_continuous_batching()
    model, device = model_from_config(run.config, run.model), run.device
    assert isinstance(model, Decoder)
    draft.environment |= Environment(device=device.describe())
    draft.estimate = predict(model, dataclasses.replace(run, task="decode"), device.hardware())
    draft.estimate |= Estimated(cache_bytes=round(kv_bytes_per_token(model, run.dtype) * run.page_size * run.num_blocks))
    weights = run.checkpoint.label if run.checkpoint else loading.RANDOM_WEIGHTS
    say(f"{run.model}, {run.requests} requests, {weights}, on {device.name} in {run.dtype} ({run.dtype_reason})")
    add_ceilings(draft, device, run.dtype)
    predicted = predict_run()
    if predicted is not None:
        draft.estimate |= Estimated(serving=predicted)
    device.reset_peak()
    with watched(draft, device, run.preset.idle_s) as watch:
        _serve(run, draft, say, watch, model.vocab)
    add_peak_memory(draft, device)


def _serve(run: ServingRun, draft: Draft, say: Say, watch: Watch, vocab: int) -> None:
    say("loading the weights" if run.checkpoint else f"drawing {draft.estimate.params:,} random weights")
    loaded = loading.load(run)
    draft.add_phase(Phase(name="load", samples_s=(loaded.load_s,), item="model"))
    draft.proof |= Proof(num_params=sum(p.numel() for p in loaded.model.parameters()))
    first_round = run.concurrency or 1
    warm = dataclasses.replace(run, requests=first_round, concurrency=first_round, rate=None, new_tokens=min(3, run.new_tokens))
    serve(loaded.model, prompts_of(warm, vocab), warm)
    say(f"loaded in {loaded.load_s:.1f} s; serving")
    num_passes, stopped_by = run.requests * run.new_tokens, "count"
    with sampling("forward passes", max_samples=num_passes, max_time_s=run.max_time_s) as on_pass, watch("serve"):
        try:
            answered = serve(loaded.model, prompts_of(run, vocab), run, on_pass)
        except Stopped as stopped:
            answered, stopped_by = stopped.answered, "interrupt"
    draft.proof |= _proof(run, answered)
    seconds = tuple(each.ended_s - each.begun_s for each in answered.passes)
    draft.add_phase(Phase(name="pass", samples_s=seconds, item="pass", stopped_by=stopped_by))


def _proof(run: ServingRun, answered: Answered) -> Proof:
    """What was answered, and that it is what was asked."""
    return Proof(
        num_new_tokens=sum(answered.num_new_tokens),
        num_expected_new_tokens=run.new_tokens * len(answered.num_new_tokens),
        served=_served(run, answered),
    )


def _served(run: ServingRun, answered: Answered) -> ServedLoad:
    passes = answered.passes
    result = ServingResult(
        file_format=ENGINE,
        client="in process",
        served=Served(
            model=run.model,
            hardware=run.device.name,
            engine=ENGINE,
            num_gpus=1,
            tp=1,
            weights="16-bit" if run.dtype in ("bf16", "fp16") else run.dtype,
            kv=run.dtype,
            accepted_len=1.0,
        ),
        load=Load(
            kind="closed" if run.concurrency else "open",
            concurrency=run.concurrency,
            request_rate=run.rate,
            num_requests=run.requests,
            prompt_tokens=float(run.seq_len),
            output_tokens=float(run.new_tokens),
        ),
        completed=len(answered.requests),
        failed=run.requests - len(answered.requests),
        duration_s=answered.duration_s,
        prompt_tokens=run.seq_len * len(answered.requests),
        output_tokens=sum(answered.num_new_tokens),
        requests=tuple(answered.requests),
    )
    begun_s = passes[0].begun_s if passes else 0.0
    return kept(result).replaced(
        engine=EngineSteps(
            tokens=tuple(each.tokens for each in passes),
            keys=tuple(each.keys for each in passes),
            sequences=tuple(each.sequences for each in passes),
            begun_s=tuple(each.begun_s - begun_s for each in passes),
            pass_s=tuple(each.ended_s - each.begun_s for each in passes),
            processor_s=tuple(max(0.0, each.ended_processor_s - each.begun_processor_s) for each in passes),
            between_processor_s=(
                *(0.0 for _ in passes[:1]),
                *(max(0.0, later.begun_processor_s - earlier.ended_processor_s) for earlier, later in pairwise(passes)),
            ),
            cache_bytes=answered.cache_bytes,
            num_blocks=answered.num_blocks,
            page_size=run.page_size,
        ),
    )
