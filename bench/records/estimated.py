"""Estimated: what arithmetic said of a run before it began; names are those of estimators.spec.Estimate where they mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from bench.records.part import Part
from bench.records.typed_json import Above, AtLeast, OneOf

Seconds = Annotated[float, AtLeast(0)]
PositiveSeconds = Annotated[float, Above(0)]
Rate = Annotated[float, Above(0)]

STEPS = ("train_step", "forward", "prefill", "decode")
"""Phases of one step, of which rules of thumb and predictions speak."""


class FlopByConvention(Part):
    """FLOP under each convention; see docs/conventions.md. Without an op table `causal` is not known."""

    full: int
    causal: int | None = None
    hardware: int


class EstimatedStep(Part):
    """One decode step; `flop` is of `full`."""

    context_len: int
    flop: int
    min_flop: int
    min_bytes: int
    bound_s: PositiveSeconds | None = None


class EstimatedPhase(Part):
    """What one timed sample of a phase is: the sum over its steps.

    Attributes:
        flop .. bound_by: as of Estimate; bound_s is its step_time_bound_s.
        convention: what a share of peak counts of `flop`: causal of layers with windows, else full.
        rule_flop, rule_bytes: by rule of thumb: 6·N·D or 2·N·D, N the parameters that a token uses, and every weight once per pass.
        steps: of decode, one by one.
    """

    flop: FlopByConvention
    convention: Annotated[str, OneOf(("full", "causal"))] = "full"
    forward_flop: int
    backward_flop: int
    min_flop: int
    min_bytes: int
    bound_s: PositiveSeconds | None = None
    bound_by: str = ""
    rule_flop: int
    rule_bytes: int
    steps: tuple[EstimatedStep, ...] = ()


class EstimatedRule(Part):
    """A rule of thumb applied to one step of a phase; see estimators.counting.rules_of_thumb.Rule."""

    phase: Annotated[str, OneOf(STEPS)]
    name: str
    formula: str
    flop: int
    exact_flop: Annotated[int, AtLeast(1)]
    convention: str
    difference: tuple[tuple[str, int], ...]
    source: str


class PartsOfStep(Part):
    """Seconds of a predicted step by class of operator; they sum to the whole."""

    matmul: Seconds
    attention: Seconds
    memory: Seconds
    optimizer: Seconds
    host: Seconds


class PredictedStep(Part):
    """A step predicted from a calibration; see estimators.profile.operator_times.Prediction.

    Attributes:
        seconds_s .. weakest: with the step's own operators measured alone, just before.
        general_seconds_s, general_extrapolated_fraction: from the calibration's grid and curves alone.
        num_ops: operators that it dispatches, views included; an optimizer's update of one tensor is one.
        profiled_s: what torch's profiler measured of each class of operator, where it ran.
        num_profiled_ops: operators that were dispatched when it ran.
    """

    phase: Annotated[str, OneOf(STEPS)]
    seconds_s: PositiveSeconds
    parts_s: PartsOfStep
    num_ops: int
    basis_fraction: Mapping[str, float]
    weakest: tuple[str, ...]
    general_seconds_s: PositiveSeconds
    general_extrapolated_fraction: float
    calibrated_utc: str
    profiled_s: Mapping[str, float] | None = None
    num_profiled_ops: int | None = None


class EstimatedTuning(Part):
    """A fine-tuning as `fit` describes it.

    Attributes:
        method: full, lora, qlora or dora.
        adapters: rank and matrices; empty where there are none.
        base_format: what frozen matrices are stored as.
        precision: of weights, and of autocast where it is another.
        optimizer: transformers' name.
        trained_params: elements that training changes.
        parts_bytes: by name what can be counted, see estimators.tuning.countable.
        inexact: why what autograd keeps is not known to the byte; empty where it is.
        peak_bytes, peak_moment: what torch.cuda.max_memory_allocated would say, and when; low and high of its 80 % interval.
        step_s, step_low_s, step_high_s: of the device's row; None where there is none, and then of `local` alone.
    """

    method: str
    adapters: str = ""
    base_format: str = ""
    precision: str
    optimizer: str
    trained_params: int
    parts_bytes: Mapping[str, int]
    inexact: str = ""
    peak_bytes: int
    peak_low_bytes: int
    peak_high_bytes: int
    peak_moment: str
    step_s: PositiveSeconds | None = None
    step_low_s: PositiveSeconds | None = None
    step_high_s: PositiveSeconds | None = None


class PredictedServing(Part):
    """A run of a server predicted from a calibration, before it began.

    Attributes:
        ttft_s, itl_s, e2e_s: means over requests, and over tokens.
        output_tokens_per_s: over the run.
        duration_s: of the run.
        step_s: of a decode step of as many sequences as there were at most, halfway through their answers.
        parts_s: of that step; host is what its operators cost to issue.
        engine_s: of that step, what the engine does between forward passes.
        busy_s: of all steps together.
        calibrated_utc: of the calibration.
    """

    ttft_s: PositiveSeconds
    itl_s: PositiveSeconds | None = None
    e2e_s: PositiveSeconds
    output_tokens_per_s: Rate
    duration_s: PositiveSeconds
    step_s: PositiveSeconds
    parts_s: PartsOfStep
    engine_s: Seconds
    busy_s: PositiveSeconds
    calibrated_utc: str


class Estimated(Part):
    """A record's `estimate`.

    Attributes:
        params .. memory_bytes: as of Estimate, for the whole run at its fullest.
        phases: by name what one timed sample is.
        rules: of the training step, or of the prefill and the median decode step.
        hardware: id of the device in the registry; its peaks for the run's dtype. None where it is not known.
        local: the step predicted from a calibration.
        tuning: where the training is a fine-tuning.
        serving: a server under load, predicted from a calibration.
        cache_bytes: of a server's cache, all blocks, by the model's shape.
        training_flop, time_at_ceiling_s, gpu_seconds, wall_s, note: of a training that is only estimated.
        predicted_step_s, predicted_low_s, predicted_high_s: of a watched training.
    """

    params: int | None = None
    embedding_params: int | None = None
    params_by_component: Mapping[str, int] = MappingProxyType({})
    memory_bytes: Mapping[str, int] = MappingProxyType({})
    phases: Mapping[str, EstimatedPhase] = MappingProxyType({})
    rules: tuple[EstimatedRule, ...] = ()
    hardware: str | None = None
    peak_flop_per_s: Rate | None = None
    peak_bytes_per_s: Rate | None = None
    local: PredictedStep | None = None
    tuning: EstimatedTuning | None = None
    serving: PredictedServing | None = None
    cache_bytes: Annotated[int, AtLeast(0)] | None = None
    training_flop: int | None = None
    time_at_ceiling_s: float | None = None
    gpu_seconds: float | None = None
    wall_s: float | None = None
    note: str | None = None
    predicted_step_s: PositiveSeconds | None = None
    predicted_low_s: float | None = None
    predicted_high_s: float | None = None
