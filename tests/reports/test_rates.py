"""Rates of a record: FLOP, MFU and shares of bounds as worked by hand, and none where they are not known."""

from __future__ import annotations

import dataclasses

import pytest

from estimators.facts.registry import hardware
from reports.checks.crosscheck import crosscheck
from reports.rates import all_rates, rates, works
from tests.support.changed_records import (
    A100,
    with_phase,
)
from tests.support.tiny_models import record


def test_rates_are_those_worked_by_hand() -> None:
    """GPT-2 of 4 layers and width 32, 8 tokens: forward 2·8·(4·12·32² + 32·128) + 4·4·8²·32 - last row's head alone."""
    made = with_phase(record("prefill"), "prefill", samples_s=(0.5,))
    layers = 2 * 8 * 4 * 12 * 32 * 32 + 4 * (4 * 8 * 8 * 32)
    flop = layers + 2 * 1 * 32 * 128
    (reached,) = all_rates(made)
    assert reached.work.flop == flop
    assert reached.flop_per_s == 2 * flop
    assert reached.ceiling_fraction == 2 * flop / 1e12
    assert (reached.mfu, reached.work.bound_s, reached.bandwidth_fraction) == (None, None, None)
    params = made.estimate.params
    assert reached.rule_s == max(2 * params * 8 / 1e12, 4 * params / 1e11)


def test_mfu_is_full_flop_over_the_dense_peak() -> None:
    made = with_phase(record("train", hardware=A100), "train_step", samples_s=(0.25,))
    (reached,) = all_rates(made)
    assert reached.mfu == pytest.approx(4 * made.estimate.phases["train_step"].flop.full / 19.5e12)


def test_a_device_without_a_peak_for_the_dtype_has_neither_mfu_nor_bound() -> None:
    v100 = hardware("v100-sxm2-32gb")
    assert "bf16" not in v100.peak_flop_per_s
    made = record("train", hardware=v100)
    assert made.estimate.peak_flop_per_s == v100.peak("fp32")
    from bench.records.run_estimate import predict
    from estimators.architectures.from_config import model_from_config
    from tests.support.tiny_models import estimated

    run = estimated("gpt2", "train", dtype="bf16")
    said = predict(model_from_config(run.config, "x"), run, v100)
    assert said.peak_flop_per_s is None
    assert said.phases["train_step"].bound_s is None
    unknown = dataclasses.replace(made, estimate=said)
    assert not [check for check in crosscheck(unknown) if "MFU" in check.metric or "bound" in check.metric]


def test_a_phase_that_the_estimate_does_not_know_has_no_rates() -> None:
    made = record("generate")
    between = made.phase("between")
    assert between is not None
    assert rates(made, between) is None
    assert works(made, between) == []
