"""One run of a causal language model, from what was decided to a filled draft."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from bench.backend.counting.crosscheck_counts import language_counts
from bench.backend.tuned_model import num_elements
from bench.machine.meters.instruments import Watch
from bench.records.draft import Draft
from bench.records.environment import Environment
from bench.records.estimated import Estimated
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.run_estimate import predict
from bench.workloads.language import inputs, loading, slices, train
from bench.workloads.language.generate import generate
from bench.workloads.language.run import LanguageRun
from bench.workloads.preparation import add_ceilings, add_observer_cost, add_peak_memory, watched
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config

Say = Callable[[str], None]
Profile = Callable[[Callable[[], Sequence[torch.Tensor]]], None]


def measure(run: LanguageRun, draft: Draft, say: Say, predict_step: Callable[[], Profile | None] | None = None) -> None:
    """Estimate, count, measure the ceilings, load, run; every part goes into the draft.

    Args:
        predict_step: predicts the step from a calibration, and returns what is to profile it after it was measured; None where it cannot.

    Raises:
        UnavailableError: the checkpoint cannot be read.
    """
    model, device = model_from_config(run.config, run.model), run.device
    assert isinstance(model, Decoder)
    draft.environment |= Environment(device=device.describe())
    draft.estimate = predict(model, run, device.hardware())
    weights = run.checkpoint.label if run.checkpoint else loading.RANDOM_WEIGHTS
    say(f"{run.model}, {run.task}, {weights}, on {device.name} in {run.dtype} ({run.dtype_reason})")
    say("counting on the meta device: op table, torch, fvcore")
    draft.counts = language_counts(run, model)
    say("measuring this machine's matmul rate and memory bandwidth")
    add_ceilings(draft, device, run.dtype)
    add_observer_cost(draft, device, run.preset.overhead_rounds)
    profile = predict_step() if predict_step is not None else None
    device.reset_peak()
    ids = inputs.token_ids(run, model.vocab)
    left: nn.Module | None = None
    with watched(draft, device, run.preset.idle_s) as watch:
        if run.layers is not None:
            say(f"measuring slices of {' and '.join(map(str, slices.depths(run.layers)))} layers of {model.layers}")
            slices.measure(ids, run, run.layers, draft, model.layers, watch)
        else:
            left = _whole(ids, run, draft, say, watch, profile)
    add_peak_memory(draft, device)
    if run.job is not None and left is not None:
        say("counting what one more step holds")
        draft.proof |= Proof(tuning=train.held(left, ids, run))
        said = draft.estimate.tuning
        if said is not None and not said.inexact and _drops(left):
            draft.estimate |= Estimated(tuning=said.replaced(inexact="masks of the model's own dropout are left out"))


def _drops(model: Any) -> bool:
    """Whether a model of transformers drops some of its activations while it is trained."""
    return any("drop" in name and isinstance(share, float) and share > 0 for name, share in vars(model.config).items())


def _whole(ids: torch.Tensor, run: LanguageRun, draft: Draft, say: Say, watch: Watch, profile: Profile | None) -> nn.Module:
    """The whole model; returns it."""
    say("loading the weights" if run.checkpoint else f"drawing {draft.estimate.params:,} random weights")
    loaded = loading.load(run)
    draft.add_phase(Phase(name="load", samples_s=(loaded.load_s,), item="model"))
    draft.proof |= Proof(num_params=sum(map(num_elements, loaded.model.parameters())))
    say(f"loaded in {loaded.load_s:.1f} s; running")
    if run.task == "generate":
        output = generate(loaded.model, ids, run, draft, watch)
        if output is not None:
            draft.learning |= Learning(output_ids=tuple(output[0].tolist()))
            if run.tokenizer is not None:
                draft.learning |= Learning(output_text=run.tokenizer.decode(output[0], skip_special_tokens=True))
        return loaded.model
    time_step, name = slices.STEPS[run.task]
    time_step(loaded.model, ids, run, name, watch).keep(draft)
    if profile is not None:
        from bench.calibration.traced_step import step_of

        with step_of(loaded.model, ids, run) as step:
            profile(step)
    return loaded.model
