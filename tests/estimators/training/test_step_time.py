"""The cost model against closed forms and published formulas: with every constant at its ideal value, they must come out."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.cost.compute import matmul_s
from estimators.cost.efficiency import efficiency, efficiency_file
from estimators.cost.layout import Layout
from estimators.cost.software import stacks
from estimators.errors import BadValueError
from estimators.facts.registry import hardware, model_ids
from estimators.frozen import replace
from estimators.spec import Workload
from estimators.training.prediction import predict
from estimators.training.sequence_cost import sequence_cost_of
from estimators.training.step import OPTIMIZER_BYTES, PARTS, step_time
from estimators.validation.model import gpt
from tests.support.ideal_machine import IDEAL, MACHINE, classic, fused, ideal_step, model, parts_of
from tests.support.planner_jobs import job


@pytest.mark.parametrize("name", ["gpt2", "gpt-3", "llama-3-70b", "mixtral-8x7b", "deepseek-v3", "phi-2", "gemma-2-9b", "qwen3-30b-a3b"])
def test_the_work_of_a_sequence_has_the_flop_and_parameters_of_the_op_table(name: str) -> None:
    ops = model(name).ops(Workload(phase="forward", batch=1, seq_len=1024))
    work = sequence_cost_of(model(name), 1024)
    assert work.params == sum(op.count * op.params for op in ops)
    assert work.forward_flop(causal=False) == sum(op.count * op.flop for op in ops)
    assert work.forward_flop(causal=True) == sum(op.count * (op.flop - op.masked_flop) for op in ops)


def test_a_model_without_tokens_has_no_layouts() -> None:
    linear = next(name for name in model_ids() if name == "linreg-7d")
    with pytest.raises(BadValueError, match="no language model with a head"):
        sequence_cost_of(model(linear), 1)


def test_an_ideal_machine_takes_the_flop_over_the_peak() -> None:
    """Narayanan et al. 2021 (arXiv 2104.04473), equation 3 counts 4 passes with recomputation; the head is run three times."""
    layout = Layout(global_batch=8, micro_batch=8, recompute="full")
    work = sequence_cost_of(model("gpt-3"), 2048)
    head_flop = 2 * 2048 * 12288 * 50257
    flop = 8 * (4 * work.forward_flop(causal=False) - head_flop)
    assert ideal_step(layout).step_time_s == pytest.approx(flop / 1e15, rel=1e-9)


def test_without_recomputation_it_is_three_passes() -> None:
    layout = Layout(global_batch=4, micro_batch=1)
    flop = 4 * 3 * sequence_cost_of(model("gpt-3"), 2048).forward_flop(causal=False)
    assert ideal_step(layout).step_time_s == pytest.approx(flop / 1e15, rel=1e-9)


def test_the_bubble_is_the_papers_fraction() -> None:
    """Bubble over ideal time is (p - 1)/(v·m): Narayanan et al. 2021, section 2.2. The head stands outside the layers here."""
    plain = ideal_step(Layout(pp=8, global_batch=32)).parts
    layers = plain["matmul"] + plain["attention"]
    assert plain["bubble"] / layers == pytest.approx(7 / 32, rel=1e-9)
    interleaved = ideal_step(Layout(pp=8, vp=4, global_batch=32)).parts
    assert interleaved["bubble"] / layers == pytest.approx(7 / (4 * 32), rel=1e-9)


def test_a_zero_bubble_schedule_leaves_a_third_of_it() -> None:
    plain = ideal_step(Layout(pp=8, global_batch=32)).parts
    filled = ideal_step(Layout(pp=8, global_batch=32, schedule="zero-bubble")).parts
    assert filled["bubble"] == pytest.approx(plain["bubble"] / 3)


def test_uneven_stages_wait_for_the_one_with_most_layers() -> None:
    """96 layers over 10 stages: the slowest has 10, so that every other waits 10/9.6 - 1 of its time."""
    parts = ideal_step(Layout(pp=10, global_batch=20)).parts
    assert parts["imbalance"] / (parts["matmul"] + parts["attention"]) == pytest.approx(10 / 9.6 - 1)


def test_a_matrix_product_pays_for_its_last_wave_and_its_depth() -> None:
    e = replace(IDEAL, tile_tail=0.5, depth=64.0)
    assert matmul_s(4096, 4096, 4096, 1e15, 100, IDEAL) == pytest.approx(2 * 4096**3 / 1e15)
    assert matmul_s(128, 128, 64, 1e15, 100, e) == pytest.approx(2 * 128 * 128 * 64 / 1e15 * (1 + 0.5 * 100) * 2)


def test_the_optimizer_moves_its_state_over_the_memory_bus() -> None:
    machine = replace(MACHINE, memory_bytes_per_s=1e12)
    plain = step_time(sequence_cost_of(model("gpt2"), 1024), Layout(zero=0), machine, classic(), IDEAL).parts["optimizer"]
    assert plain == pytest.approx(124_439_808 * 28 / 1e12)
    sharded = step_time(sequence_cost_of(model("gpt2"), 1024), Layout(dp=4, global_batch=4, zero=1), machine, classic(), IDEAL).parts[
        "optimizer"
    ]
    assert sharded == pytest.approx(plain / 4)


@pytest.mark.parametrize("name", ["gpt-3", "llama-3-70b", "deepseek-v3"])
def test_the_named_parts_sum_to_the_step(name: str) -> None:
    layout = Layout(tp=4, pp=4, dp=2, ep=4 if name == "deepseek-v3" else 1, global_batch=64, recompute="selective", sequence_parallel=True)
    found = predict(model(name), 4096, layout, hardware("h100-sxm5-80gb"))
    assert tuple(found.ledger.parts) == tuple(PARTS)
    assert sum(found.ledger.parts.values()) == pytest.approx(found.step_time_s)
    assert min(found.ledger.parts.values()) >= 0
    assert found.low_s < found.step_time_s < found.high_s


def test_utilization_follows_from_the_step_and_its_convention() -> None:
    layout = Layout(tp=8, pp=8, dp=2, global_batch=128, recompute="full")
    found = predict(model("gpt-3"), 2048, layout, hardware("a100-sxm4-80gb"), stack_id="megatron-2021", cluster="selene")
    flop = 3 * sequence_cost_of(model("gpt-3"), 2048).forward_flop(causal=False) * 128
    assert found.utilization("full") == pytest.approx(flop / found.step_time_s / (312e12 * 128))
    assert found.utilization("hardware") == pytest.approx(4 / 3 * (found.utilization("full") or 0))
    assert (found.utilization("causal") or 1) < (found.utilization("full") or 0)


def test_unknown_names_are_refused_in_one_line() -> None:
    with pytest.raises(BadValueError, match="optimizer 'lion' is unknown; expected one of: adamw"):
        predict(model("gpt2"), 1024, Layout(), hardware("a100-sxm4-80gb"), optimizer="lion")
    with pytest.raises(BadValueError, match="no published dense peak for fp8"):
        predict(model("gpt2"), 1024, Layout(), hardware("a100-sxm4-80gb"), dtype="fp8")
    with pytest.raises(BadValueError, match="no fit without 'nobody'"):
        efficiency("nobody")


def test_every_stack_and_optimizer_is_known_to_the_ledger() -> None:
    for name in stacks():
        for optimizer in OPTIMIZER_BYTES:
            layout = Layout(dp=2, global_batch=4)
            assert predict(model("gpt2"), 1024, layout, hardware("a100-sxm4-80gb"), stack_id=name, optimizer=optimizer).step_time_s > 0


def test_constants_are_physical() -> None:
    for name, constant in efficiency_file()["constants"].items():
        assert constant["value"] > 0, name
        assert constant["upper"] is None or constant["value"] <= constant["upper"], name
        assert constant["source"], name


def test_a_fused_kernel_makes_its_scores_anew_on_the_way_back() -> None:
    """Two products forward, five backward (Dao et al. 2022, arXiv 2205.14135, algorithm 4), on the pairs that the mask lets through."""
    pairs = 2048 * 2049 // 2
    forward_flop = 32 * 32 * pairs * 2 * 128 * 2
    assert parts_of("llama-2-7b", Layout())["attention"] == pytest.approx(3.5 * forward_flop / 1e15)


def test_an_odd_head_width_slows_unfused_products() -> None:
    """BLOOM's trials with 128 heads of width 108: no multiple of 8."""
    e = replace(IDEAL, odd_head=6.0)
    odd, even = (
        step_time(sequence_cost_of(gpt(2, 13824, heads, 0, 51200, 2048), 2048), Layout(), MACHINE, classic(), e).parts["attention"]
        for heads in (128, 96)
    )
    assert odd == pytest.approx(7 * even)


def test_the_head_is_three_products_and_fourteen_bytes_a_logit() -> None:
    machine = replace(MACHINE, memory_bytes_per_s=1e12)
    logits = 2048 * 32000
    assert parts_of("llama-2-7b", Layout(), machine=machine)["head"] == pytest.approx(6 * logits * 4096 / 1e15 + 14 * logits / 1e12)


@pytest.mark.parametrize("ep", [1, 2, 8])
def test_balanced_experts_take_the_same_time_however_they_are_spread(ep: int) -> None:
    """Mixtral: two of eight experts per token, three matrices of 4,096 x 14,336, 32 layers; each device has the same tokens to multiply."""
    layout = Layout(dp=8, ep=ep, global_batch=8)
    flop = 3 * 2 * 2048 * 2 * 3 * 4096 * 14336 * 32
    assert parts_of("mixtral-8x7b", layout)["experts"] == pytest.approx(flop / 1e15)


def test_gradients_are_added_for_every_micro_batch() -> None:
    machine = replace(MACHINE, memory_bytes_per_s=1e12)
    layers = 6_738_415_616 - 2 * 32000 * 4096
    found = parts_of("llama-2-7b", Layout(global_batch=4), machine=machine)["accumulate"]
    assert found == pytest.approx(4 * layers * 8 / 1e12, rel=1e-3)


@pytest.mark.parametrize(("layout", "ops", "passes"), [({}, 45, 2.5), ({"recompute": "full"}, 45, 3.5), ({"tp": 2}, 51, 2.5)])
def test_every_operation_starts_once_forward_and_one_and_a_half_times_backward(layout: Any, ops: int, passes: float) -> None:
    """45 operations in a layer, six more with tensor parallelism: two all-reduces in each direction and what splits and joins for them."""
    e = replace(IDEAL, launch_s=1e-6)
    found = parts_of("llama-2-7b", Layout(**layout, global_batch=1), e=e)["launch"]
    assert found == pytest.approx(ops * 32 * passes * 1e-6, rel=1e-6)


def test_quantised_weights_are_unpacked_in_every_pass() -> None:
    """Frozen weights of the layers, 12.5 bytes each, forward and backward; what is trained is not unpacked."""
    from estimators.architectures.adapters import with_adapters

    machine, tuned = replace(MACHINE, memory_bytes_per_s=1e12), with_adapters(model("llama-2-7b"), 8, base_format="nf4")
    found = step_time(sequence_cost_of(tuned, 2048), Layout(), machine, fused(dequantise_bytes=12.5), IDEAL).parts["dequantise"]
    assert found == pytest.approx((6_738_415_616 - 2 * 32000 * 4096) * 12.5 * 2 / 1e12, rel=2e-3)


def test_stragglers_add_a_share_for_each_doubling_beyond_a_node() -> None:
    e = replace(IDEAL, straggle=0.01)
    small, large = (parts_of("gpt2", Layout(dp=dp, global_batch=dp), e=e) for dp in (8, 64))
    assert small["straggle"] == 0
    assert large["straggle"] == pytest.approx(0.03 * sum(value for name, value in large.items() if name != "straggle"))


def test_sharded_experts_cross_the_network_once_per_device_where_a_node_has_one_of_each() -> None:
    # Mixtral on 8 nodes of 8, ep=8: whoever shares out an expert's weights is in another node. By hand: 45.1e9 / 8 parameters of two bytes,
    # gathered twice and reduced once by 8 ranks, over a network of 50 GB/s; a batch of one short sequence a device hides next to nothing
    one = job("mixtral-8x7b", "h100-sxm5-80gb", 128)
    layout = Layout(dp=64, ep=8, zero=3, global_batch=64)
    crossing = 50e9 * one.efficiency.network
    least = 3 * 7 / 8 * one.work.expert_params / 8 * 2 / crossing
    found = one.ledger(layout)
    assert one.machine.network_bytes_per_s == 50e9
    assert 0.8 * least < found.parts["data_comm"] < 2 * least


def test_sharded_experts_that_a_node_holds_stay_on_its_link() -> None:
    one = job("mixtral-8x7b", "h100-sxm5-80gb", 128)
    near, far = (one.ledger(Layout(dp=dp, ep=2, zero=3, global_batch=dp)).parts["data_comm"] for dp in (8, 64))
    assert near < far / 2
