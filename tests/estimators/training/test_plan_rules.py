"""Requests that cannot be planned: one line each, with the rule that broke and the nearest thing that works."""

from __future__ import annotations

import pytest

from estimators.architectures.adapters import with_adapters
from estimators.cost.layout import Layout
from estimators.errors import BadValueError, DoesNotFitError, RequestError
from estimators.frozen import replace
from estimators.training.layouts.candidates import candidates
from estimators.training.layouts.deadline import PlanLimits, bound_s, check_deadline, device_counts, plan_within
from estimators.training.layouts.feasibility import check_layout, smallest_num_devices
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.planned import plan
from estimators.training.layouts.search import search
from estimators.units import DAY_S
from tests.support.planner_jobs import job

GPT3 = job("gpt-3")
LLAMA70 = job("llama-3-70b", "h100-sxm5-80gb", 8192)
MIXTRAL = job("mixtral-8x7b", seq_len=4096)


@pytest.mark.parametrize(
    ("one", "layout", "said"),
    [
        (GPT3, Layout(tp=10), r"tp=10 does not divide 96 heads; the nearest that does: tp=8"),
        (LLAMA70, Layout(tp=24), r"tp=24 does not divide 64 heads and 8 key-value heads; the nearest that does: tp=16"),
        (GPT3, Layout(pp=97), r"pp=97 asks for more stages than the 96 layers there are; the most: pp=96"),
        (
            GPT3,
            Layout(pp=8, vp=16, global_batch=8),
            r"pp=8 x vp=16 asks for more stages than the 96 layers there are; the most: pp=8,vp=12",
        ),
        (GPT3, Layout(pp=8, dp=2, zero=2, global_batch=16), r"zero=2 .* a pipeline of pp=8 stages .*: expected zero=1, or pp=1"),
        (GPT3, Layout(vp=2), r"vp=2 interleaves a pipeline, but pp=1 has none"),
        (GPT3, Layout(pp=8, vp=2, global_batch=20), r"vp=2 needs micro-batches in groups of pp=8, but a step has 20; .* 16 sequences"),
        (GPT3, Layout(dp=8, ep=2, global_batch=8), r"ep=2 divides experts, but the model has none"),
        (MIXTRAL, Layout(dp=16, ep=16, global_batch=16), r"ep=16 is more than 8 experts; the nearest that works: ep=8"),
        (MIXTRAL, Layout(dp=4, ep=8, global_batch=4), r"ep=8 .* the 4 GPUs of a stage; the nearest that works: ep=4"),
        (LLAMA70, Layout(cp=3), r"cp=3 cuts a causal sequence into 6 parts, which do not divide 8,192 tokens; nearest: cp=2"),
        (replace(GPT3, seq_len=2047), Layout(tp=8, sequence_parallel=True), r"sp=1 shares 2,047 tokens between tp=8 ranks"),
    ],
)
def test_a_broken_rule_is_named_with_the_nearest_thing_that_works(one: Job, layout: Layout, said: str) -> None:
    with pytest.raises(BadValueError, match=said) as caught:
        check_layout(one, layout)
    assert "\n" not in str(caught.value)


def test_uneven_stages_are_legal() -> None:
    roomy = replace(LLAMA70, hardware=replace(LLAMA70.hardware, memory_bytes=10**15))
    check_layout(roomy, Layout(pp=7, global_batch=7))
    assert 80 % 7


def test_a_layout_that_does_not_fit_says_by_how_much_and_what_does() -> None:
    layout = Layout(tp=8, dp=128, zero=0, global_batch=1536)
    with pytest.raises(DoesNotFitError, match=r"needs \d\d\d GiB .* more than the 79.2 GiB of a100-sxm4-80gb; what fits on .*: tp=8"):
        check_layout(GPT3, layout)
    check_layout(GPT3, plan(GPT3, 1024).best.layout)


def test_a_model_that_fits_nowhere_says_by_how_much_and_what_would_hold_it() -> None:
    with pytest.raises(
        DoesNotFitError, match=r"fits on 8 x a100-sxm4-80gb in no layout: .* too much; the fewest that hold it: (\d+)"
    ) as caught:
        plan(GPT3, 8)
    fewest = int(str(caught.value).rpartition(" ")[2])
    batch = Batch().on(8, params=GPT3.work.params, seq_len=2048)
    assert plan(GPT3, fewest, Batch(sequences=batch)).num_fitting > 0
    assert 175e9 * 2 / GPT3.hardware.memory_bytes < fewest < 96  # weights alone, and what people train it on


def test_the_fewest_devices_are_more_than_one_less() -> None:
    small = job("llama-2-7b", seq_len=4096)
    fewest = smallest_num_devices(small, 1024)
    assert fewest is not None
    assert fewest > 1  # 16 bytes per parameter are 108 GB
    with pytest.raises(DoesNotFitError, match="too much"):
        plan(small, fewest // 2, Batch(sequences=1024))
    for large, sequences in ((GPT3, 1536), (replace(GPT3, seq_len=1024), 3072)):
        enough = smallest_num_devices(large, sequences)
        assert enough is not None
        below = 1 << (enough - 1).bit_length() - 1  # the power of two that fails; sixteen steps from it to the next
        assert not any(search(large, num, sequences).num_fitting for num in range(below, enough, max(1, below // 16)))


def test_a_model_that_no_number_of_devices_holds_says_so() -> None:
    tiny = replace(GPT3, hardware=replace(GPT3.hardware, memory_bytes=2**30))
    with pytest.raises(DoesNotFitError, match="not even 65,536 of them hold it"):
        plan(tiny, 64, Batch(sequences=64))


@pytest.mark.parametrize("num_devices", [0, -8, 10**9])
def test_no_devices_and_too_many_are_refused(num_devices: int) -> None:
    with pytest.raises(BadValueError, match=r"devices is out of range; expected a whole number from 1 to 10,000,000"):
        plan(GPT3, num_devices)


def test_a_batch_that_does_not_divide_names_the_nearest_batch_and_number_of_devices() -> None:
    with pytest.raises(BadValueError, match=r"1,536 sequences does not divide over 1,000 GPUs .*: 1,500 sequences, or (\d+) G") as caught:
        plan(GPT3, 1000, Batch(sequences=1536))
    assert plan(GPT3, 1000, Batch(sequences=1500)).num_fitting > 0
    assert plan(GPT3, int(str(caught.value).split()[-2]), Batch(sequences=1536)).num_legal > 0


def test_physics_bounds_a_deadline() -> None:
    """6·N FLOP per token over the peak, and the unmasked half of attention: 300e9 · 6 · 174.6e9 / (1,024 · 312e12) is 11.4 days."""
    least = bound_s(GPT3, 300 * 10**9, 1024)
    assert least is not None
    assert least / DAY_S == pytest.approx(300e9 * 6 * 174.6e9 / (1024 * 312e12) / DAY_S, rel=0.03)
    with pytest.raises(BadValueError, match=r"5.00 days is less than physics allows on 1,024 x a100-sxm4-80gb: .* at least 2,36\d GPUs"):
        check_deadline(GPT3, 300 * 10**9, 1024, 5 * DAY_S)
    check_deadline(GPT3, 300 * 10**9, 1024, least)


def test_adapters_leave_two_thirds_of_the_products_and_all_of_attention() -> None:
    # Hu et al. 2021 (arXiv 2106.09685), section 4.1, frozen weights: products forward and for the inputs' gradients, none for their own.
    # Attention has no weights: its products are needed forward and twice backward as ever. Adapters of rank 8 add less than 1 %.
    whole = job("llama-2-7b", seq_len=4096)
    bounds = [bound_s(one, 10**9, 8) for one in (replace(whole, model=with_adapters(whole.model, rank=8)), whole)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    products = 2 * 4096 * (32 * (4 * 4096**2 + 3 * 4096 * 11008) + 4096 * 32000)
    attention = 4 * (4096 * 4097 // 2) * 4096 * 32
    assert bounds[0] / bounds[1] == pytest.approx((2 * products + 3 * attention) / (3 * products + 3 * attention), rel=0.01)


def test_every_plan_respects_the_physics_bound() -> None:
    for num in (256, 1024, 4096):
        least = bound_s(GPT3, 300 * 10**9, num)
        assert least is not None
        assert plan(GPT3, num).run_s(300 * 10**9) > least


def test_a_device_without_a_peak_has_no_physics_bound() -> None:
    assert bound_s(replace(GPT3, dtype="fp8"), 10**9, 8) is None


def test_a_deadline_is_met_by_the_fewest_devices() -> None:
    tokens = 300 * 10**9
    found = plan_within(GPT3, tokens, PlanLimits(deadline_s=60 * DAY_S, max_devices=4096))
    assert found.run_s(tokens) <= 60 * DAY_S
    assert plan(GPT3, found.num_devices // 2).run_s(tokens) > 60 * DAY_S


def test_a_deadline_that_is_met_for_too_much_money_is_not_met() -> None:
    with pytest.raises(BadValueError, match=r"does not pay for .* the cheapest plan costs"):
        plan_within(GPT3, 300 * 10**9, PlanLimits(deadline_s=60 * DAY_S, max_devices=1024, budget_usd=1000.0, usd_per_gpu_hour=2.0))


def test_devices_are_offered_as_they_are_rented() -> None:
    # one node of eight and parts of it; then 2, 3, 4, 6 and 8 nodes; and what there is
    assert list(device_counts(GPT3, 70)) == [1, 2, 4, 8, 16, 24, 32, 48, 64, 70]


def test_a_last_shorter_step_counts_in_proportion() -> None:
    found = plan(job("llama-2-7b", seq_len=4096), 64, Batch(sequences=512))
    assert found.run_s(512 * 4096 * 3 // 2) == 1.5 * found.best.prediction.step_time_s


def test_a_deadline_that_no_layout_meets_names_the_fastest() -> None:
    with pytest.raises(BadValueError, match=r"on at most 1,024 x a100-sxm4-80gb is done in 13.0 days: the fastest takes"):
        plan_within(GPT3, 300 * 10**9, PlanLimits(deadline_s=13 * DAY_S, num_devices=1024))


def test_a_budget_that_pays_for_no_plan_says_what_it_buys() -> None:
    tokens, limits = 300 * 10**9, PlanLimits(num_devices=1024, budget_usd=1000, usd_per_gpu_hour=2.0)
    with pytest.raises(BadValueError, match=r"\$1.00 k does not pay for 300 B tokens .* buys (\d+) M tokens") as caught:
        plan_within(GPT3, tokens, limits)
    bought = float(str(caught.value).split()[-3])
    assert bought == pytest.approx(1000 / 2 / plan(GPT3, 1024).gpu_hours(10**12) * 10**6, rel=0.01)


def test_a_budget_takes_the_fastest_plan_that_it_pays_for() -> None:
    small, tokens = job("llama-3-8b", "h100-sxm5-80gb", 8192), 10**11
    dear = plan_within(small, tokens, PlanLimits(max_devices=512, budget_usd=10**6, usd_per_gpu_hour=2.0))
    limits = PlanLimits(max_devices=512, budget_usd=plan(small, 8).gpu_hours(tokens) * 2 * 1.05, usd_per_gpu_hour=2.0)
    cheap = plan_within(small, tokens, limits)
    assert dear.num_devices == 512
    assert cheap.num_devices < 512
    cost = limits.cost_usd(cheap, tokens)
    assert cost is not None
    assert cost <= (limits.budget_usd or 0)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"budget_usd": 10.0}, "no rental price of this device is known"),
        ({"num_devices": 16, "max_devices": 8}, "--gpus 16 is more than --max-gpus 8"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(limits: dict[str, int], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        PlanLimits(**limits)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(BadValueError, match="optimizer 'lion' is unknown; expected one of: adamw"):
        replace(GPT3, optimizer="lion")


def test_hybrid_sharding_over_all_replicas_is_no_layout_of_its_own() -> None:
    lanes = candidates(job("llama-2-7b", seq_len=4096).work, 16, 64, domain=8)
    hybrid = lanes.shard[lanes.shard > 0]
    assert len(hybrid)
    assert all(lanes.shard[lanes.shard > 0] < lanes.dp[lanes.shard > 0])
    assert not len(candidates(job("llama-2-7b", seq_len=4096).work, 8, 64, domain=8).shard.nonzero()[0])


def test_a_batch_that_devices_would_swell_more_than_fourfold_is_refused() -> None:
    # 125 devices share 125 sequences at least: four times 32, more than four times 31
    assert Batch(tokens=32 * 4096 - 1).on(125, params=10**9, seq_len=4096) == 125
    with pytest.raises(BadValueError, match="the smallest is 125"):
        Batch(tokens=31 * 4096 + 1).on(125, params=10**9, seq_len=4096)
