"""What each generation of software runs: rules of one layout and of many agree, and a plan offers nothing else."""

from __future__ import annotations

import pytest

from estimators.cost.layout import Layout
from estimators.cost.software import stacks
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.training.layouts.feasibility import check_layout
from estimators.training.layouts.priced_lanes import priced_lanes
from estimators.training.layouts.software_limits import BY_STACK, check_runs, runs
from tests.support.planner_jobs import job

LLAMA = job("llama-2-7b", "h100-sxm5-80gb", 4096)


def test_every_limit_is_of_a_known_software() -> None:
    assert set(BY_STACK) <= set(stacks())


@pytest.mark.parametrize(
    ("stack_id", "layout", "said"),
    [
        ("transformers", Layout(pp=2, dp=4, global_batch=8), r"software transformers has no pp=2; expected pp=1, or another --software"),
        ("pytorch-2023", Layout(tp=2, dp=4, zero=3, global_batch=8), r"software pytorch-2023 has no tp=2"),
        ("megatron-2021", Layout(tp=2, dp=4, zero=3, global_batch=8), r"software megatron-2021 has no zero=3; expected zero=1 at most"),
        ("megatron-2022-bf16", Layout(cp=2, dp=4, global_batch=8), r"has no cp=2"),
    ],
)
def test_what_a_software_does_not_have_is_refused_in_one_line(stack_id: str, layout: Layout, said: str) -> None:
    with pytest.raises(BadValueError, match=said) as caught:
        check_layout(replace(LLAMA, stack_id=stack_id), layout)
    assert "\n" not in str(caught.value)
    assert not runs(stack_id, layout)


TRAIN_WHOLE_MODELS = sorted(name for name, stack in stacks().items() if not stack.dequantise_bytes)
"""The others train adapters over 4-bit weights alone."""


@pytest.mark.parametrize("stack_id", TRAIN_WHOLE_MODELS)
def test_every_offered_layout_is_one_that_the_software_runs(stack_id: str) -> None:
    lanes = priced_lanes(replace(LLAMA, stack_id=stack_id), 16, 64).lanes
    assert len(lanes)
    for lane in range(0, len(lanes), 11):
        check_runs(stack_id, lanes.layout(lane))


def test_megatron_core_runs_every_cut() -> None:
    lanes = priced_lanes(LLAMA, 16, 64).lanes
    assert all((getattr(lanes, name) > 1).any() for name in ("tp", "pp", "dp"))
    assert set(lanes.zero) == {0, 1, 2, 3}
