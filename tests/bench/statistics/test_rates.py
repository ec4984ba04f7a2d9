"""Rates of a record: FLOP, MFU and shares of bounds as worked by hand, and none where they are not known."""

from __future__ import annotations

import dataclasses

import pytest

from bench.records.environment import DeviceFacts, Environment
from bench.records.record import Measurement
from bench.statistics.rates import all_rates, passed, rates, works
from estimators.facts.registry import hardware
from estimators.units import MEBI
from reports.checks.crosscheck import crosscheck
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


def with_again(made: Measurement, value: float) -> Measurement:
    """The same record with its matmul ceiling measured once more."""
    first = next(c for c in made.ceilings if c.kind == "matmul")
    return dataclasses.replace(made, ceilings=(*made.ceilings, dataclasses.replace(first, kind="matmul again", value=value)))


@pytest.mark.parametrize(
    ("again", "ok", "said"),
    [
        (None, False, "the ceiling was measured too low: measure again on a quiet machine"),
        (1.25e12, True, "measured 1.00 TFLOP/s before the run and 1.25 TFLOP/s after it, longer"),
        (1.1e12, False, "IMPOSSIBLE beside a ceiling of 1.00 TFLOP/s before the run and 1.10 TFLOP/s after it, longer"),
    ],
)
def test_a_rate_beyond_its_ceiling_is_judged_by_the_better_of_two(again: float | None, ok: bool, said: str) -> None:
    """1.27 TFLOP/s beside a ceiling of 1 TFLOP/s before the run: 102 % of 1.25, and 115 % of 1.1."""
    made = record("prefill")
    flop = next(all_rates(with_phase(made, "prefill", samples_s=(1.0,)))).work.flop
    made = with_phase(made, "prefill", samples_s=(flop / 1.27e12,))
    made = made if again is None else with_again(made, again)
    (check,) = (each for each in crosscheck(made) if each.metric == "prefill: share of matmul ceiling")
    assert (check.ok, check.observed) == (ok, pytest.approx(1.27e12 / (again or 1e12)))
    assert said in check.explanation


def test_what_passed_is_the_rate_and_bytes_of_the_caches_pass_nothing() -> None:
    made = with_phase(record("prefill"), "prefill", samples_s=(1e-9,))
    (reached,) = all_rates(made)
    assert passed(made) == {"matmul": reached.flop_per_s, "bandwidth": reached.bytes_per_s}
    cached = dataclasses.replace(made, environment=Environment(device=DeviceFacts(cache_bytes=32 * MEBI)))
    assert set(passed(cached)) == {"matmul"}
    assert passed(with_phase(made, "prefill", samples_s=(1e9,))) == {}
