"""One question asked of several verbs has one answer, to the last digit: estimate, plan and compare-hardware ask one planner."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import sixnd
from estimators.errors import DoesNotFitError

TRIPLES = [
    ("gpt-3-175b", "300B", "a100-sxm4-80gb", 1024),
    ("gpt-3-175b", "300B", "h100-sxm5-80gb", 512),
    ("llama-2-13b", "2T", "a100-sxm4-80gb", 256),
    ("llama-3-8b", "1T", "h100-sxm5-80gb", 64),
    ("llama-3-8b", "15T", "mi300x-192gb", 128),
    ("llama-3-70b", "15T", "h100-sxm5-80gb", 1024),
    ("llama-3-70b", "2T", "b200-sxm-180gb", 256),
    ("mixtral-8x7b", "1T", "h100-sxm5-80gb", 128),
    ("deepseek-v3", "14.8T", "h100-sxm5-80gb", 2048),
    ("gpt-2", "10B", "a100-sxm4-80gb", 8),
]


@functools.cache
def counted(model: str, tokens: str, device: str, gpus: int) -> Any:
    """The estimate of a triple."""
    return sixnd.estimate(model=model, tokens=tokens, hardware=device, gpus=gpus)


@pytest.mark.parametrize(("model", "tokens", "device", "gpus"), TRIPLES, ids=[f"{t[0]} on {t[3]} {t[2]}" for t in TRIPLES])
class TestTenTrainings:
    def test_three_verbs_print_the_same_gpu_days(self, model: str, tokens: str, device: str, gpus: int) -> None:
        estimated = counted(model, tokens, device, gpus)
        planned = sixnd.plan(model=model, tokens=tokens, hardware=device, gpus=gpus)
        compared = sixnd.compare_hardware(model=model, tokens=tokens, hardware=device, gpus=gpus).tables()[0].rows[0]
        assert estimated.gpu_days == planned.gpu_days == compared["gpu_days"]
        assert estimated.layout == planned.layout == compared["layout"]
        assert estimated.global_batch == planned.global_batch == compared["global_batch"]

    def test_the_planned_layout_given_back_is_the_same_run(self, model: str, tokens: str, device: str, gpus: int) -> None:
        planned = sixnd.plan(model=model, tokens=tokens, hardware=device, gpus=gpus)
        given = sixnd.estimate(model=model, tokens=tokens, hardware=device, gpus=gpus, layout=planned.layout)
        assert (given.gpu_days, given.fits) == (planned.gpu_days, True)

    def test_a_deadline_asks_for_the_same_devices(self, model: str, tokens: str, device: str, gpus: int) -> None:
        deadline = f"{2.5 * counted(model, tokens, device, gpus).wall_days}d"
        estimated = sixnd.estimate(model=model, tokens=tokens, hardware=device, deadline=deadline)
        planned = sixnd.plan(model=model, tokens=tokens, hardware=device, deadline=deadline)
        assert estimated.deadline_num_devices == estimated.num_devices == planned.num_devices
        assert estimated.gpu_days == planned.gpu_days
        beside = sixnd.estimate(model=model, tokens=tokens, hardware=device, deadline=deadline, gpus=gpus)
        assert (beside.deadline_num_devices, beside.num_devices) == (planned.num_devices, gpus)

    def test_the_tokens_that_a_budget_buys_cost_the_budget(self, model: str, tokens: str, device: str, gpus: int) -> None:
        bought = sixnd.estimate(model=model, hardware=device, gpus=gpus, budget_usd=10**6, price=2)
        planned = sixnd.plan(model=model, hardware=device, gpus=gpus, tokens=bought.budget_tokens, budget=1_000_001, price=2)
        assert planned.cost_usd == pytest.approx(10**6, rel=1e-9)  # tokens are whole
        days = sixnd.estimate(model=model, hardware=device, gpus=gpus, budget_gpu_days=1000)
        assert sixnd.plan(model=model, hardware=device, gpus=gpus, tokens=days.budget_tokens).gpu_days == pytest.approx(1000, rel=1e-9)

    def test_without_a_number_of_devices_the_answer_is_near(self, model: str, tokens: str, device: str, gpus: int) -> None:
        alone = sixnd.estimate(model=model, tokens=tokens, hardware=device)
        compared = sixnd.compare_hardware(model=model, tokens=tokens, hardware=device).tables()[0].rows[0]
        assert alone.devices_chosen
        assert alone.gpu_days == pytest.approx(counted(model, tokens, device, gpus).gpu_days, rel=0.15)
        assert (alone.gpu_days, alone.num_devices) == (compared["gpu_days"], compared["num_devices"])


def test_published_whole_runs_are_a_row_beside_a_chosen_number_of_devices() -> None:
    answer = sixnd.estimate(model="llama-3-8b", tokens="1T", hardware="h100-sxm5-80gb")
    rows = {row["scenario"]: row for row in answer.tables()[0].rows}
    (published,) = (row for name, row in rows.items() if name.startswith("published runs"))
    peak_s = answer.training_flop / answer.peak_flop_per_s
    assert published["gpu_days"] == pytest.approx(peak_s / answer.published_utilization_fraction / 86_400)
    given = sixnd.estimate(model="llama-3-8b", tokens="1T", hardware="h100-sxm5-80gb", gpus=64)
    assert not any(str(row["scenario"]).startswith("published runs") for row in given.tables()[0].rows)


def test_devices_are_chosen_by_memory_and_not_so_few_that_all_is_recomputed() -> None:
    # 70.6e9 parameters at 16 (FSDP) or 18 bytes are 1.13 or 1.27 TB: 16 x 80 GB hold them only by recomputing every activation.
    asked = {"model": "llama-3-70b", "hardware": "h100-sxm5-80gb"}
    with pytest.raises(DoesNotFitError):
        sixnd.plan(**asked, gpus=8)
    with pytest.raises(DoesNotFitError, match=r"5\.00 % of 79\.2 GiB is left free"):
        sixnd.plan(**asked, gpus=16, software="megatron-core")
    for tight in (sixnd.plan(**asked, gpus=16), sixnd.plan(**asked, gpus=16, memory_margin=0, software="megatron-core")):
        assert "recompute=full" in tight.layout
    chosen = sixnd.estimate(model="llama-3-70b", tokens="1T", hardware="h100-sxm5-80gb")
    assert chosen.num_devices == 24
    assert "recompute=full" not in chosen.layout


def test_a_batch_is_written_alike_in_every_verb() -> None:
    asked = {"model": "llama-2-7b", "tokens": "1T", "hardware": "a100-sxm4-80gb", "gpus": 64}
    for batch in ("4M", "1024seq", 4_194_304):
        answers = [sixnd.estimate(**asked, global_batch=batch), sixnd.plan(**asked, global_batch=batch)]
        assert {answer.global_batch for answer in answers} == {1024}
        assert len({answer.gpu_days for answer in answers}) == 1


def test_a_training_of_less_than_one_step_counts_in_proportion() -> None:
    asked = {"model": "gpt-2", "hardware": "a100-sxm4-80gb", "gpus": 8}
    small = [verb(**asked, tokens=tokens).gpu_days for tokens in (10**4, 10**5) for verb in (sixnd.estimate, sixnd.plan)]
    assert small[0] == small[1]
    assert small[2] == small[3] == pytest.approx(10 * small[0])
