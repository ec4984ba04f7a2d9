"""What lies around a planned training is what the verbs say of each question by itself."""

from __future__ import annotations

import pytest

from estimators.cost.layout import parse_layout
from estimators.errors import BadValueError
from estimators.facts.goodput import run_factor
from estimators.facts.prices import rent
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.memory.device import memory_of
from estimators.method import TrainingMethod
from estimators.training.layouts.job import Job
from estimators.training.layouts.outlook import around_devices, held, outlook
from estimators.training.layouts.what_if import what_if
from estimators.training.offers import Offer, beaten_by
from estimators.units import HOUR_S
from estimators.validation.compared import compared_run
from estimators.validation.model import shipped_model
from estimators.validation.nearest_runs import nearest_runs
from estimators.validation.table import read_table, shipped_runs

JOB = Job(model=shipped_model("llama-2-7b"), hardware=hardware("h100-sxm5-80gb"), seq_len=4096)
LAYOUT = parse_layout("dp=16,zero=1,micro_batch=1,recompute=selective", num_devices=16, global_batch=256)
TOKENS = 10**11


def test_the_parts_of_a_device_sum_to_what_the_layout_needs() -> None:
    found = held(JOB, LAYOUT)
    assert found.needed_bytes == pytest.approx(JOB.needed_bytes(LAYOUT), rel=1e-12)
    of_megatron = memory_of(JOB.model, 4096, LAYOUT, stack_id=JOB.on(LAYOUT).stack.id)
    assert found.parts["activations"] == of_megatron.parts["activations"]
    assert found.parts["reserve"] == of_megatron.reserve_bytes


def test_the_parts_of_a_fine_tuning_sum_to_what_it_needs_as_well() -> None:
    job = replace(JOB, method=TrainingMethod(rank=16))
    layout = parse_layout("dp=1,micro_batch=1", num_devices=1, global_batch=8)
    found = held(job, layout)
    assert found.tuned
    assert found.needed_bytes == pytest.approx(job.needed_bytes(layout), rel=1e-12)
    assert found.parts["adapters"] > 0


def test_a_knob_is_the_answer_to_that_one_change() -> None:
    price = rent("h100-sxm5-80gb", 2.0)
    around = outlook(JOB, LAYOUT, TOKENS, price)
    by_change = {knob.change: knob for knob in around.knobs}
    assert around.run_s == JOB.predict(LAYOUT).run_s(TOKENS)
    for said, change in {"32 GPUs": "gpus=32", "recompute full": "recompute=full", "sequences of 8,192": "seq_len=8192"}.items():
        after = what_if(JOB, LAYOUT, change)
        assert by_change[said].run_s == after.after.run_s(TOKENS)
        assert by_change[said].fits == after.fits
    assert by_change["32 GPUs"].cost_usd == pytest.approx(2.0 * 32 * by_change["32 GPUs"].run_s / HOUR_S)
    assert by_change["a whole run, the middle of those published"].run_s == around.run_s * run_factor().median
    moved = [abs(knob.run_s - around.run_s) for knob in around.knobs]
    assert moved == sorted(moved, reverse=True)


def test_a_change_that_breaks_a_rule_is_left_out() -> None:
    """A V100 multiplies nothing in fp8, so that the change has no answer."""
    job = replace(JOB, hardware=hardware("v100-sxm2-32gb"), dtype="fp16")
    with pytest.raises(BadValueError, match="fp8"):
        what_if(job, LAYOUT, "dtype=fp8")
    assert "products in fp8" not in {knob.change for knob in outlook(job, LAYOUT, TOKENS, None).knobs}


def test_a_curve_around_an_answer_begins_at_an_eighth_of_its_devices() -> None:
    points = around_devices(JOB, LAYOUT, TOKENS)
    assert [point.num_devices for point in points] == [2, 4, 8, 16, 32, 64, 128]
    for point in points:
        if point.plan is not None:
            assert point.low_s is not None
            assert point.high_s is not None
            assert point.run_s is not None
            assert point.low_s < point.run_s < point.high_s
            assert point.low_s == point.plan.run_s(TOKENS, point.plan.best.prediction.low_s)
    odd = parse_layout("dp=6,zero=1,micro_batch=1", num_devices=6, global_batch=96)
    assert around_devices(JOB, odd, TOKENS)[0].num_devices == 3


def test_the_nearest_run_to_a_published_one_is_itself_planned_as_validate_plans_it() -> None:
    """Llama 2 7B: 2 T tokens, 184,320 GPU-hours (Touvron et al. 2023, table 2)."""
    (run,) = nearest_runs(6_738_415_616, 2 * 10**12, 1, number=1)
    assert run.name == "Llama 2 7B"
    assert run.measured_s == 184_320 * HOUR_S
    (record,) = (record for record in read_table(shipped_runs()) if record.id == run.name)
    compared = compared_run(record)
    assert compared.predicted is not None
    assert run.planned_s == pytest.approx(compared.predicted, rel=1e-4)  # the factors that ship have four decimals
    assert run.low_s == pytest.approx(compared.low, rel=1e-4)


def test_an_offer_is_beaten_by_what_is_as_fast_and_as_cheap_and_better_in_one() -> None:
    offers = [Offer(time=1, cost_usd=10), Offer(time=1, cost_usd=10), Offer(time=1, cost_usd=11), Offer(time=0.5, cost_usd=5, fits=False)]
    assert beaten_by(offers) == (None, None, 0, None)
    assert beaten_by([Offer(time=None, cost_usd=1), Offer(time=2, cost_usd=2)]) == (None, None)
