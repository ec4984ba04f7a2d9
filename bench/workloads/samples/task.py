"""One run of a model of samples, from what was decided to a filled draft."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from bench.backend.counting.crosscheck_counts import sample_counts
from bench.backend.models import with_random_weights
from bench.records.draft import Draft
from bench.records.environment import Environment
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.run_estimate import predict
from bench.workloads.language.loading import RANDOM_WEIGHTS, weights_dtype
from bench.workloads.preparation import add_ceilings, add_observer_cost, add_peak_memory, watched
from bench.workloads.samples.run import SampleRun
from bench.workloads.samples.steps import STEPS

Say = Callable[[str], None]
Profile = Callable[[Callable[[], Sequence[torch.Tensor]]], None]


def measure(run: SampleRun, draft: Draft, say: Say, predict_step: Callable[[], Profile | None] | None = None) -> None:
    """Estimate, count, measure the ceilings, draw weights, run; every part goes into the draft.

    Args:
        predict_step: predicts the step from a calibration, and returns what is to profile it after it was measured; None where it cannot.
    """
    device = run.device
    draft.environment |= Environment(device=device.describe())
    draft.estimate = predict(run.op_table, run, device.hardware())
    say(f"{run.model}, {run.task}, {RANDOM_WEIGHTS}, on {device.name} in {run.dtype} ({run.dtype_reason})")
    say("counting on the meta device: op table, torch, fvcore")
    draft.counts = sample_counts(run, run.op_table, run.network, run.seed)
    say("measuring this machine's matmul rate and memory bandwidth")
    add_ceilings(draft, device, run.dtype)
    add_observer_cost(draft, device, run.preset.overhead_rounds)
    profile = predict_step() if predict_step is not None else None
    device.reset_peak()
    with watched(draft, device, run.preset.idle_s) as watch:
        say(f"drawing {draft.estimate.params:,} random weights")
        start, dtype = time.perf_counter(), weights_dtype(run)
        model = with_random_weights(lambda: run.network.build(run.attn, dtype), dtype=dtype, device=device.torch_device, seed=run.seed)
        draft.add_phase(Phase(name="load", samples_s=(time.perf_counter() - start,), item="model"))
        draft.proof |= Proof(num_params=sum(parameter.numel() for parameter in model.parameters()))
        given = {name: tensor.to(device.torch_device) for name, tensor in run.network.drawn(run.seed, dtype).items()}
        say("running")
        STEPS[run.task](model.eval(), given, run, watch).keep(draft)
        if profile is not None:
            from bench.calibration.traced_step import step_of

            with step_of(model, given, run) as step:
                profile(step)
    add_peak_memory(draft, device)
