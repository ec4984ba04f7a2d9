"""Chosen layouts leave a margin of memory free, given ones may fill it and say so, and what no software runs is not offered."""

from __future__ import annotations

import pytest

import sixnd
from estimators.cost.layout import Layout, parse_layout
from estimators.errors import BadValueError, DoesNotFitError
from estimators.frozen import replace
from estimators.training.layouts.feasibility import check_layout
from estimators.training.layouts.job import Job
from estimators.training.layouts.planned import plan
from estimators.training.layouts.priced_lanes import priced_lanes
from estimators.training.layouts.what_if import what_if
from tests.support.planner_jobs import job

LLAMA = job("llama-3-70b", "h100-sxm5-80gb", 8192, stack_id="")


def memory_of_plan(one: Job) -> float:
    """The most that any option of a plan on 64 devices holds, over a device's memory."""
    return max(option.memory_bytes for option in plan(one, 64).options) / one.capacity_bytes


def test_a_chosen_layout_leaves_a_twentieth_free_unless_told_otherwise() -> None:
    assert memory_of_plan(LLAMA) <= 0.95
    assert memory_of_plan(replace(LLAMA, memory_margin=0.3)) <= 0.7
    assert priced_lanes(replace(LLAMA, memory_margin=0.0), 64, 512).memory_bytes.max() / LLAMA.capacity_bytes > 0.95


def test_less_room_never_fits_more_layouts() -> None:
    fitting = [priced_lanes(replace(LLAMA, memory_margin=margin), 64, 512).num_fitting for margin in (0.0, 0.05, 0.5)]
    assert fitting == sorted(fitting, reverse=True)
    assert fitting[0] > fitting[1] > fitting[2]


def in_the_margin(one: Job) -> Layout:
    """A layout between 95 % of a device and all of it."""
    found = priced_lanes(replace(one, memory_margin=0.0), 64, 512)
    shares = found.memory_bytes / one.capacity_bytes
    return found.lanes.layout(int(next(lane for lane, share in enumerate(shares) if 0.96 < share < 0.99)))


def test_a_given_layout_may_fill_the_margin_and_is_told_so() -> None:
    layout = in_the_margin(LLAMA)
    check_layout(LLAMA, layout)
    asked = {"model": "llama-3-70b", "hardware": "h100-sxm5-80gb", "gpus": 64, "seq_len": 8192, "global_batch": "512seq"}
    told = [sixnd.plan(**asked, layout=str(layout)), sixnd.estimate(**asked, tokens="1T", layout=str(layout))]
    assert all("--memory-margin" in table_notes(answer, "fills") for answer in told)
    roomy = "tp=8,pp=8,dp=1,zero=0,micro_batch=1,sp=1,recompute=full"
    assert table_notes(sixnd.estimate(**asked, tokens="1T", layout=roomy), "fills") == ""


def table_notes(answer: sixnd.PlanAnswer | sixnd.EstimateAnswer, word: str) -> str:
    return " ".join(note for table in answer.tables() for note in table.notes if word in note)


def test_a_given_layout_beyond_the_device_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match=r"more than the 79.2 GiB of h100-sxm5-80gb"):
        check_layout(LLAMA, Layout(dp=64, zero=1, global_batch=64))


def test_every_verb_takes_the_margin_and_a_step_that_is_not_predicted_has_none() -> None:
    asked = {"model": "llama-2-7b", "tokens": "1T", "hardware": "a100-sxm4-80gb", "gpus": 8, "memory_margin": "40%"}
    layouts = {str(verb(**asked).layout) for verb in (sixnd.estimate, sixnd.plan)}
    layouts |= {str(row["layout"]) for row in sixnd.compare_hardware(**asked).tables()[0].rows}
    assert len(layouts) == 1
    with pytest.raises(BadValueError, match="--memory-margin describes a step that is predicted"):
        sixnd.estimate(**asked, utilization=0.4)
    with pytest.raises(BadValueError, match="memory-margin"):
        sixnd.plan(**(asked | {"memory_margin": 1.5}))


def test_gradients_are_never_shared_out_beside_a_pipeline() -> None:
    for stack_id in ("megatron-core", "pytorch-fsdp2"):
        lanes = priced_lanes(replace(LLAMA, stack_id=stack_id), 64, 512).lanes
        assert not ((lanes.zero == 2) & (lanes.pp > 1)).any()
        assert ((lanes.zero == 2) & (lanes.pp == 1)).any()
        assert ((lanes.zero == 1) & (lanes.pp > 1)).any()


def test_a_change_to_what_no_software_runs_is_refused() -> None:
    layout = parse_layout("tp=8,pp=2,zero=1,sp=1", num_devices=64, global_batch=512)
    with pytest.raises(BadValueError, match="zero=2 shares out gradients"):
        what_if(LLAMA, layout, "zero=2")
    assert what_if(LLAMA, layout, "zero=0").after.layout.zero == 0
