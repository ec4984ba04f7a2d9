"""Typed answers: inverse questions undo the question, kinds of device are answered as if asked alone, a plan says what an estimate says."""

from __future__ import annotations

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.phases import PhasesQuestion, count_phases
from estimators.errors import BadValueError
from estimators.facts.prices import rent
from estimators.facts.registry import hardware, model_entry
from estimators.frozen import replace
from estimators.inference.single_steps import StepsQuestion, estimate_steps
from estimators.spec import Model
from estimators.training.answer import predict, training_answer
from estimators.training.inverse import Inverse, estimate_training
from estimators.training.layouts.answer import PlanQuestion, answer_plan
from estimators.training.on_devices import compare_hardware
from estimators.training.question import Question
from estimators.units import DAY_S, HOUR_S

A100, H100, V100 = (hardware(name) for name in ("a100-sxm4-80gb", "h100-sxm5-80gb", "v100-sxm2-32gb"))


def shipped(name: str) -> Model:
    return model_from_config(model_entry(name).config, name)


LLAMA = Question(model=shipped("llama-2-7b"), hardware=A100, seq_len=4096, tokens=10**12, num_devices=64)
ASSUMED = replace(LLAMA, utilization=0.45)


class TestInverse:
    def test_the_tokens_of_a_budget_take_that_budget(self) -> None:
        (budget,) = estimate_training(ASSUMED, Inverse(budget_gpu_days=1000)).budgets
        run = training_answer(replace(ASSUMED, tokens=budget.tokens[0])).runs[0]
        assert budget.gpu_seconds == 1000 * DAY_S
        assert run.gpu_days == pytest.approx(1000, rel=1e-9)  # a token of 10^11 is rounded away

    def test_money_buys_device_time_at_the_price_and_is_named_with_it(self) -> None:
        (budget,) = estimate_training(replace(ASSUMED, usd_per_gpu_hour=2.0), Inverse(budget_usd=10**6)).budgets
        assert (budget.gpu_seconds, budget.usd_per_gpu_hour) == (10**6 / 2 * HOUR_S, 2.0)

    def test_a_deadline_is_met_by_its_devices_and_by_none_fewer(self) -> None:
        (needed,) = estimate_training(ASSUMED, Inverse(deadline_s=30 * DAY_S)).deadline_num_devices
        assert training_answer(replace(ASSUMED, num_devices=needed)).runs[0].wall_s <= 30 * DAY_S
        assert training_answer(replace(ASSUMED, num_devices=needed - 1)).runs[0].wall_s > 30 * DAY_S

    def test_a_predicted_deadline_is_met_beside_the_answer_on_the_devices_given(self) -> None:
        answer = estimate_training(LLAMA, Inverse(deadline_s=30 * DAY_S))
        assert answer.predicted is not None
        assert answer.in_time is not None
        assert answer.predicted.run.prediction.layout.num_devices == 64
        assert answer.in_time.run.wall_s <= 30 * DAY_S
        assert answer.deadline_num_devices == ()

    def test_a_claim_of_what_is_assumed_implies_it(self) -> None:
        wall_s = training_answer(ASSUMED).runs[0].wall_s
        claim = estimate_training(ASSUMED, Inverse(claimed_s=wall_s)).claim
        assert claim is not None
        assert claim.by_convention["full"].utilization == pytest.approx(0.45, rel=1e-12)


class TestPredicted:
    @pytest.mark.parametrize(
        ("changes", "predicted"),
        [
            ({}, True),
            ({"utilization": 0.4}, False),
            ({"hardware": None}, False),
            ({"model": shipped("bert-base-uncased"), "seq_len": 512}, False),
            ({"num_devices": None}, True),
        ],
    )
    def test_a_step_is_predicted_where_a_device_and_a_covered_model_are_given_and_no_utilization(
        self, changes: dict[str, object], predicted: bool
    ) -> None:
        assert replace(LLAMA, **changes).is_predicted == predicted

    def test_its_share_of_peak_is_flop_over_what_the_devices_would_do(self) -> None:
        answer = predict(LLAMA)
        (run,) = answer.training.runs
        assert run.utilization * A100.peak("bf16") * 64 * answer.run.wall_s == pytest.approx(answer.training.flop, rel=1e-12)
        assert run.wall_s == pytest.approx(answer.run.wall_s, rel=1e-12)

    def test_a_plan_of_the_same_training_takes_the_same_layout_and_time(self) -> None:
        plan = answer_plan(PlanQuestion(jobs=(LLAMA.job,), tokens=LLAMA.tokens, num_devices=64)).best
        run = predict(LLAMA).run
        assert plan.best.layout == run.prediction.layout
        assert plan.run_s(10**12) == run.wall_s


class TestKindsOfDevice:
    def test_each_is_answered_as_if_it_were_asked_alone(self) -> None:
        compared = compare_hardware(LLAMA, [A100, H100])
        assert [device.answer for device in compared.predicted] == [predict(replace(LLAMA, hardware=device)) for device in (A100, H100)]
        assert compared.at_utilization == ()
        assert [bounds.training.hardware for bounds in compared.bounds] == [A100, H100]

    def test_a_device_without_a_peak_has_a_reason_where_another_has_an_answer(self) -> None:
        refused, answered = compare_hardware(ASSUMED, [V100, H100]).at_utilization
        assert (refused.answer, refused.reason) == (None, "no dense bf16 peak; it has fp64, fp32, fp16")
        assert answered.answer == training_answer(replace(ASSUMED, hardware=H100))

    def test_without_any_answer_every_reason_is_named(self) -> None:
        with pytest.raises(BadValueError, match="v100-sxm2-32gb: no dense bf16 peak"):
            compare_hardware(ASSUMED, [V100])

    def test_a_plan_that_is_refused_on_one_kind_stands_last_with_its_reason(self) -> None:
        jobs = tuple(replace(LLAMA, hardware=device, dtype="fp8").job for device in (A100, H100))
        first, last = answer_plan(PlanQuestion(jobs=jobs, tokens=10**12, num_devices=64)).choices
        assert (first.hardware, first.answer is None, last.hardware, last.answer) == (H100, False, A100, None)
        assert "fp8" in last.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scaling": True}, "--scaling needs to know how much is trained"),
        ({"compute_optimal": True}, "--compute-optimal needs a budget"),
        ({"layout": "tp=2", "launcher_file": "job.toml"}, "--layout and --from both give a layout"),
    ],
)
def test_a_plan_of_what_cannot_be_planned_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        PlanQuestion(jobs=(LLAMA.job,), num_devices=64, **changes)  # type: ignore[arg-type]


def test_a_price_is_the_users_or_lies_between_the_quotes() -> None:
    given, quoted = rent("h100-sxm5-80gb", 2.5), rent("h100-sxm5-80gb")
    assert given is not None
    assert quoted is not None
    assert (given.low, given.median, given.high, given.source) == (2.5, 2.5, 2.5, "given by --price")
    assert quoted.low < quoted.median < quoted.high


@pytest.mark.parametrize("name", ["phi-2", "resnet-50", "t5-small"])
def test_single_steps_and_phases_count_the_same(name: str) -> None:
    model = shipped(name)
    seq_len = min(model.max_positions, 256)
    steps = estimate_steps(StepsQuestion(model=model, seq_len=seq_len)).steps
    phases = count_phases(PhasesQuestion(model=model, phase="forward", seq_len=seq_len)).costs
    assert steps["forward"][1].flop == phases["forward"].flop
    assert steps["training"][1].flop["full"] == phases["train"].flop["full"]


def test_a_phase_that_a_model_lacks_is_refused() -> None:
    with pytest.raises(BadValueError, match="--phase decode: resnet-50 does not generate; expected one of: forward, train"):
        count_phases(PhasesQuestion(model=shipped("resnet-50"), phase="decode", seq_len=1))
