"""Proof: evidence that the work of a run was done, and what was seen of a training that was watched."""

from __future__ import annotations

from collections.abc import Mapping

from bench.records.part import Part
from bench.records.served import ServedLoad
from bench.records.typed_json import MeasuredSeconds


class WatchedRank(Part):
    """One rank: medians of its steps after the warm-up, and its tokens or samples of all steps.

    Attributes:
        same_batches_as: the rank that was given the same batches, whose tokens stand for both.
    """

    rank: int
    device: str
    uuid: str | None
    num_steps: int
    num_items: int | None
    median_step_s: float | None
    median_data_wait_s: float | None
    peak_bytes: Mapping[str, int | None]
    same_batches_as: int | None = None


class WatchedTraining(Part):
    """Every step of a watched training, warm-up included, all ranks together.

    Attributes:
        data_wait_s: exposed wait for data per step.
        others_s: per step, the time of savers, evaluators, loggers and other callbacks since the step before and inside this one: in no
            other figure; empty in records of before it was measured.
        tokens_per_step or samples_per_step: padding left out; neither where the size of a batch is not known.
        padding_per_step: positions of padding, which are computed; None where a mask does not tell.
        loss_tokens_per_step: tokens that bear a loss; None where labels do not tell.
        losses: None where none was given, or it was not finite.
        training_flop, hardware_flop: of all steps, padding included, as MFU and HFU count them; None where a batch was not counted.
        steady_training_flop: of the steps after the warm-up, as MFU counts them.
        skew_fraction: slowest rank's median step over the fastest's, less 1; None for one rank.
        observer_s: what watching took.
        counting_s: what counting the kinds of pass took, of the rank that took longest, once each: in no step's time; None in records of
            before it was measured.
        processor_s: processor time of the training's thread inside all its steps, of the rank that had least; None where a device beside
            it does the work, not stated in records of before it was measured. `host_step` is the wall time to hold it against.
        silent_ranks: of the process group, those that are not in `ranks`, or not to their end; not stated where there is none.
    """

    data_wait_s: tuple[MeasuredSeconds, ...]
    others_s: tuple[MeasuredSeconds, ...] = ()
    tokens_per_step: tuple[int, ...] = ()
    samples_per_step: tuple[int, ...] = ()
    padding_per_step: tuple[int | None, ...]
    loss_tokens_per_step: tuple[int | None, ...] = ()
    losses: tuple[float | None, ...]
    training_flop: int | None
    hardware_flop: int | None
    steady_training_flop: int | None = None
    ranks: tuple[WatchedRank, ...]
    skew_fraction: float | None
    observer_s: float
    counting_s: MeasuredSeconds | None = None
    processor_s: MeasuredSeconds | None = None
    silent_ranks: tuple[int, ...] = ()


class CountedTuning(Part):
    """What a fine-tuning really held, counted on its tensors during one more step; names are those of EstimatedTuning.

    Attributes:
        trained_params: elements of what needs a gradient.
        parts_bytes: parameters as they are stored, gradients, the optimizer's state, and storages that autograd kept, each once.
    """

    trained_params: int
    parts_bytes: Mapping[str, int]


class Proof(Part):
    """A record's `proof`. What was not looked at is not stated; a loss or norm that is stated as None was not finite.

    Attributes:
        num_params: of the model that ran.
        num_new_tokens, num_distinct_new_tokens: generated, beside what was to be.
        num_forward_passes, forward_shapes_as_planned: of a generation, beside what was estimated.
        params_changed: whether every trained tensor changed, by a sample of each; see docs/conventions.md.
        num_steps, num_ranks, num_samples, num_tokens: of a training; tokens without padding. A step that only a gradient scaler
            skipped is none of a watched training, where its optimizers are seen.
        num_optimizer_steps, num_skipped_steps: of a watched training, those that all its optimizers took, together, and those that
            a gradient scaler skipped; stated where they are seen.
        num_batches: of a watched training, all ranks together.
        num_padding, num_loss_tokens: positions of padding, and tokens that bear a loss, of a watched training.
        watched: where the training was a user's own loop.
        tuning: of a fine-tuning.
        served: where a server was under load, here or where a load generator's file was imported from.
    """

    num_params: int | None = None
    num_new_tokens: int | None = None
    num_expected_new_tokens: int | None = None
    num_distinct_new_tokens: int | None = None
    num_forward_passes: int | None = None
    num_expected_forward_passes: int | None = None
    forward_shapes_as_planned: bool | None = None
    logits_finite: bool | None = None
    loss_first: float | None = None
    loss_last: float | None = None
    loss_finite: bool | None = None
    params_changed: bool | None = None
    grad_norm: float | None = None
    num_steps: int | None = None
    num_optimizer_steps: int | None = None
    num_skipped_steps: int | None = None
    num_batches: int | None = None
    num_ranks: int | None = None
    num_samples: int | None = None
    num_tokens: int | None = None
    num_padding: int | None = None
    num_loss_tokens: int | None = None
    watched: WatchedTraining | None = None
    tuning: CountedTuning | None = None
    served: ServedLoad | None = None
