"""What the cross-check must not let pass of counted work, its bounds and its proof: a sound record and a twin of each."""

from __future__ import annotations

from collections.abc import Callable

from bench.records.record import Measurement
from tests.support.changed_records import (
    A100,
    PEAK_BYTES_PER_S,
    PEAK_FLOP_PER_S,
    at_rate,
    slices,
    with_ceiling,
    with_count,
    with_phase,
    with_proof,
    with_rule,
    with_trainer_rule,
)
from tests.support.tiny_models import record

Twins = dict[str, tuple[Callable[[], Measurement], Callable[[], Measurement], list[str]]]


TWINS: Twins = {
    "torch counts one parameter more": (
        lambda: record("train"),
        lambda: with_count(record("train"), 1, value=record("train").counts[1].value + 1),  # type: ignore[operator]
        ["params, torch meta"],
    ),
    "fvcore counts one FLOP less": (
        lambda: record("prefill"),
        lambda: with_count(record("prefill"), 4, value=record("prefill").counts[4].value - 1),  # type: ignore[operator]
        ["prefill_flop, fvcore x2"],
    ),
    "the op table lacks a quantity that torch counts": (
        lambda: record("prefill"),
        lambda: with_count(record("prefill"), 2, quantity="another_flop"),
        ["prefill_flop, torch meta", "prefill_flop, fvcore x2"],
    ),
    "the model that ran has other parameters": (
        lambda: record("decode"),
        lambda: with_proof(record("decode"), num_params=1),
        ["params, the model that ran"],
    ),
    "a rule's named parts leave one FLOP over": (
        lambda: record("train"),
        lambda: with_rule(record("train"), flop=record("train").estimate.rules[0].flop + 1),
        ["train_step: 6·N·D, all parameters"],
    ),
    "the Trainer's own figure is another one": (
        lambda: with_trainer_rule(0),
        lambda: with_trainer_rule(6),
        ["training_flop, Trainer rule"],
    ),
    "a sample is faster than its physics bound": (
        lambda: at_rate("prefill", "prefill", 0.5, bytes_per_s=PEAK_BYTES_PER_S),
        lambda: with_phase(record("prefill", hardware=A100), "prefill", samples_s=(1.0, 1e-9, 1.0)),
        ["prefill: fastest sample against the physics bound"],
    ),
    "MFU above 1": (
        lambda: at_rate("train", "train_step", 0.001, flop_per_s=PEAK_FLOP_PER_S),
        lambda: at_rate("train", "train_step", 1.01, flop_per_s=PEAK_FLOP_PER_S),
        ["train_step: fastest sample against the physics bound", "train_step: MFU", "train_step: bandwidth over peak"],
    ),
    "bandwidth above peak": (
        lambda: at_rate("decode", "decode", 0.99, bytes_per_s=PEAK_BYTES_PER_S),
        lambda: at_rate("decode", "decode", 1.01, bytes_per_s=PEAK_BYTES_PER_S),
        ["decode: fastest sample against the physics bound", "decode: bandwidth over peak"],
    ),
    "the matmul ceiling is beaten by more than its tolerance": (
        lambda: with_ceiling(record("train"), "matmul", record("train").estimate.phases["train_step"].flop.full / 1.09),
        lambda: with_ceiling(record("train"), "matmul", record("train").estimate.phases["train_step"].flop.full / 1.11),
        ["train_step: share of matmul ceiling"],
    ),
    "the bandwidth ceiling is beaten by more than its tolerance": (
        lambda: with_ceiling(record("prefill"), "bandwidth", record("prefill").estimate.phases["prefill"].min_bytes / 1.09),
        lambda: with_ceiling(record("prefill"), "bandwidth", record("prefill").estimate.phases["prefill"].min_bytes / 1.11),
        ["prefill: share of bandwidth ceiling"],
    ),
    "a token too few was generated": (
        lambda: record("generate"),
        lambda: with_proof(record("generate"), num_new_tokens=4),
        ["tokens generated"],
    ),
    "the passes had other shapes": (
        lambda: record("generate"),
        lambda: with_proof(record("generate"), forward_shapes_as_planned=False),
        ["forward passes as estimated"],
    ),
    "there was a pass more than planned": (
        lambda: record("generate"),
        lambda: with_proof(record("generate"), num_forward_passes=6),
        ["forward passes as estimated"],
    ),
    "the logits are no numbers": (
        lambda: record("prefill"),
        lambda: with_proof(record("prefill"), logits_finite=False),
        ["logits are finite"],
    ),
    "a loss was not a number": (
        lambda: record("train"),
        lambda: with_proof(record("train"), loss_first=None, loss_last=None, loss_finite=False),
        ["loss is finite and falls"],
    ),
    "the loss stood still": (lambda: record("train"), lambda: with_proof(record("train"), loss_last=5.0), ["loss is finite and falls"]),
    "the loss rose": (lambda: record("train"), lambda: with_proof(record("train"), loss_last=5.1), ["loss is finite and falls"]),
    "the parameters did not change": (
        lambda: record("train"),
        lambda: with_proof(record("train"), params_changed=False),
        ["parameters changed"],
    ),
    "a layer takes no time": (lambda: slices(), lambda: slices(per_layer_s=0.0), ["time added by a layer"]),
    "a slice was not timed": (lambda: slices(), lambda: slices(samples_s=()), ["slices timed"]),
    "the gradient was zero": (
        lambda: with_proof(record("train"), grad_norm=0.5),
        lambda: with_proof(record("train"), grad_norm=0.0),
        ["norm of the last gradient"],
    ),
    "there was no gradient": (
        lambda: with_proof(record("train"), grad_norm=0.5),
        lambda: with_proof(record("train"), grad_norm=None),
        ["norm of the last gradient"],
    ),
    "a step took fewer tokens than were asked for": (
        lambda: record("train"),
        lambda: with_phase(record("train"), "train_step", items_per_sample=7),
        ["tokens of a train_step sample"],
    ),
    "the extrapolated value beats the physics bound": (
        lambda: slices(),
        lambda: slices(value_s=1e-12),
        [
            "train_step: extrapolated value against the physics bound",
            "train_step: MFU",
            "train_step: bandwidth over peak",
            "train_step: share of matmul ceiling",
            "train_step: share of bandwidth ceiling",
        ],
    ),
}
"""What is wrong with the twin: the sound record, the twin, and the checks that fail."""
