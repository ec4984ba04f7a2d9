"""Laws of a step's time that hold whatever the constants are, drawn over layouts, models and machines."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from estimators.cost.layout import Layout
from estimators.frozen import replace
from estimators.training.layouts.job import Job
from estimators.training.layouts.priced_lanes import PricedLanes, priced_lanes
from estimators.training.passes import pass_s
from estimators.training.step import step_time
from tests.support.planner_jobs import job

JOBS = {
    "gpt-3": (job("gpt-3"), 1024, 1536),
    "llama-2-7b": (job("llama-2-7b", seq_len=4096), 64, 256),
    "llama-3-70b": (job("llama-3-70b", "h100-sxm5-80gb", 8192), 256, 512),
    "mixtral-8x7b": (job("mixtral-8x7b", "h100-sxm5-80gb", 4096), 128, 512),
    "bloom-176b": (job("bloom-176b", stack_id="megatron-2021"), 384, 1536),
}


@functools.cache
def searched(name: str) -> PricedLanes:
    one, num_devices, batch = JOBS[name]
    return priced_lanes(one, num_devices, batch)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Job, Layout]:
    """A job with one of its legal layouts."""
    name = draw(st.sampled_from(sorted(JOBS)))
    found = searched(name)
    return JOBS[name][0], found.lanes.layout(draw(st.integers(0, len(found.lanes) - 1)))


def seconds(one: Job, layout: Layout, **faster: float) -> float:
    """The step on a machine some of whose rates are multiplied."""
    machine = one.machine
    changed: Any = replace(machine, **{name: getattr(machine, name) * factor for name, factor in faster.items()})
    return float(step_time(one.work, layout, changed, one.software, one.efficiency).step_time_s)


RATES = {
    "bandwidth": ("memory_bytes_per_s",),
    "links": ("link_bytes_per_s",),
    "network": ("network_bytes_per_s",),
    "peak": ("flop_per_s", "flop16_per_s"),
}


@pytest.mark.parametrize("names", RATES.values(), ids=RATES)
@given(case=cases(), factor=st.floats(1.0, 20.0))
@settings(max_examples=150, deadline=None)
def test_a_faster_machine_never_slows_a_step(names: tuple[str, ...], case: tuple[Job, Layout], factor: float) -> None:
    one, layout = case
    assert seconds(one, layout, **dict.fromkeys(names, factor)) <= seconds(one, layout) * (1 + 1e-12)


@given(case=cases())
@settings(max_examples=300, deadline=None)
def test_the_ledger_sums_to_the_step_and_no_part_is_negative(case: tuple[Job, Layout]) -> None:
    one, layout = case
    prediction = one.predict(layout)
    parts = {name: float(part) for name, part in prediction.ledger.parts.items()}
    assert sum(parts.values()) == pytest.approx(prediction.step_time_s, rel=1e-12)
    assert min(parts.values()) >= -1e-9 * prediction.step_time_s


@given(case=cases())
@settings(max_examples=300, deadline=None)
def test_doubling_the_replicas_never_lowers_what_the_cluster_does(case: tuple[Job, Layout]) -> None:
    """Where the replicas span several nodes already: the first that does not fit into one brings the network in, at a price of its own."""
    one, layout = case
    assume(layout.tp * layout.cp * layout.dp > one.machine.domain)
    doubled = replace(layout, dp=2 * layout.dp, global_batch=2 * layout.global_batch)
    rate = layout.global_batch / float(one.ledger(layout).step_time_s)
    assert doubled.global_batch / float(one.ledger(doubled).step_time_s) >= rate


@given(name=st.sampled_from(sorted(JOBS)), micro_batch=st.integers(1, 8), passes=st.integers(1, 16), zero=st.integers(0, 1))
@settings(max_examples=100, deadline=None)
def test_one_device_does_its_own_work_and_nothing_else(name: str, micro_batch: int, passes: int, zero: int) -> None:
    """tp=pp=dp=1: the work of one micro-batch, forward and backward, as often as there are micro-batches; nobody is waited for."""
    one = JOBS[name][0]
    layout = Layout(micro_batch=micro_batch, global_batch=micro_batch * passes, zero=zero)
    parts = one.ledger(layout).parts
    alone = pass_s(one.work, layout, one.machine, one.software, one.efficiency)
    for part in ("matmul", "experts", "attention", "traffic"):
        assert parts[part] == pytest.approx(passes * sum(getattr(alone, part)), rel=1e-12)
    assert parts["head"] == pytest.approx(passes * alone.head, rel=1e-12)
    between = ("tensor_comm", "expert_comm", "context_comm", "pipeline_comm", "data_comm", "bubble", "imbalance", "straggle")
    assert [parts[part] for part in between] == [0] * len(between)


@given(case=cases())
@settings(max_examples=200, deadline=None)
def test_memory_falls_with_every_zero_stage(case: tuple[Job, Layout]) -> None:
    one, layout = case
    held = [float(one.memory_bytes(replace(layout, zero=stage, shard=0))) for stage in range(3)]
    assert held == sorted(held, reverse=True)


def test_memory_of_the_states_is_zeros_own_arithmetic() -> None:
    """Rajbhandari et al. 2020 (arXiv 1910.02054), figure 1: 7.5B parameters on 64 ranks need 120, 31.4, 16.6 and 1.9 GB: 16, 4 + 12/64,
    2 + 14/64 and 16/64 bytes per parameter with 16-bit gradients; with the fp32 ones of Megatron-Core, two bytes more of each."""
    small = job("llama-2-7b", seq_len=4096)
    lean = replace(small, seq_len=1)
    states = [float(lean.memory_bytes(Layout(dp=64, zero=stage, global_batch=64))) for stage in range(4)]
    params = lean.work.params
    expected = [params * size for size in (18, 6 + 12 / 64, 2 + 16 / 64)]
    for stage in (0, 1):
        assert states[stage] - states[stage + 1] == pytest.approx(expected[stage] - expected[stage + 1], rel=0.06)
    assert states[2] > states[3]
