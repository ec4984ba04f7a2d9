"""The cost model against closed forms and published formulas: with every constant at its ideal value, they must come out."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.hf_config import model_from_config
from estimators.measured.model import gpt
from estimators.registry import hardware, model_entry, model_ids
from estimators.spec import Workload
from estimators.step_time.collectives import all_reduce_s, all_to_all_s, bandwidth, gather_s, together
from estimators.step_time.compute import matmul_s
from estimators.step_time.efficiency import Efficiency, efficiency, efficiency_file
from estimators.step_time.layout import Layout
from estimators.step_time.ledger import OPTIMIZER_BYTES, PARTS, step_time
from estimators.step_time.machine import Machine, machine_of, network_of
from estimators.step_time.prediction import predict
from estimators.step_time.software import Software, software, stack, stacks
from estimators.step_time.work import work_of

IDEAL = Efficiency(
    **{
        **dict.fromkeys(Efficiency.__slots__, 1.0),
        **dict.fromkeys(
            ("tile_tail", "depth", "odd_head", "quantise", "routing_passes", "host_op_s", "launch_s", "latency_s", "step_s", "straggle"),
            0.0,
        ),
        "head_half": 0.0,
        "unfused_passes": 0.0,
    }
)
"""Everything at its peak, nothing in the way."""

MACHINE = Machine(
    flop_per_s=1e15,
    flop16_per_s=1e15,
    units=100,
    memory_bytes=80e9,
    memory_bytes_per_s=1e30,
    link_bytes_per_s=1e30,
    network_bytes_per_s=1e30,
    domain=8,
)
"""A petaflop a second and, unless a test says otherwise, free memory and links."""


def model(name: str) -> Any:
    return model_from_config(model_entry(name).config, name)


def classic() -> Software:
    return software(stack("megatron-2021"), "Ampere", IDEAL)


def ideal_step(layout: Layout, machine: Machine = MACHINE, name: str = "gpt-3", seq_len: int = 2048) -> Any:
    return step_time(work_of(model(name), seq_len), layout, machine, classic(), IDEAL)


@pytest.mark.parametrize("name", ["gpt2", "gpt-3", "llama-3-70b", "mixtral-8x7b", "deepseek-v3", "phi-2", "gemma-2-9b", "qwen3-30b-a3b"])
def test_the_work_of_a_sequence_has_the_flop_and_parameters_of_the_op_table(name: str) -> None:
    ops = model(name).ops(Workload(phase="forward", batch=1, seq_len=1024))
    work = work_of(model(name), 1024)
    assert work.params == sum(op.count * op.params for op in ops)
    assert work.forward_flop(causal=False) == sum(op.count * op.flop for op in ops)
    assert work.forward_flop(causal=True) == sum(op.count * (op.flop - op.masked_flop) for op in ops)


def test_a_model_without_tokens_has_no_layouts() -> None:
    linear = next(name for name in model_ids() if name == "linreg-7d")
    with pytest.raises(BadValueError, match="no language model with a head"):
        work_of(model(linear), 1)


def test_an_ideal_machine_takes_the_flop_over_the_peak() -> None:
    """Narayanan et al. 2021 (arXiv 2104.04473), equation 3 counts 4 passes with recomputation; the head is run three times."""
    layout = Layout(global_batch=8, micro_batch=8, recompute="full")
    work = work_of(model("gpt-3"), 2048)
    head_flop = 2 * 2048 * 12288 * 50257
    flop = 8 * (4 * work.forward_flop(causal=False) - head_flop)
    assert ideal_step(layout).step_time_s == pytest.approx(flop / 1e15, rel=1e-9)


def test_without_recomputation_it_is_three_passes() -> None:
    layout = Layout(global_batch=4, micro_batch=1)
    flop = 4 * 3 * work_of(model("gpt-3"), 2048).forward_flop(causal=False)
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


def test_tensor_parallelism_sends_what_the_paper_says() -> None:
    """Two all-reduces of b·s·h per layer forward and two backward, fp16 (Narayanan et al. 2021, section 3.2): 2·(t-1)/t each."""
    machine = replace(MACHINE, link_bytes_per_s=1e9)
    parts = ideal_step(Layout(tp=8, global_batch=1), machine).parts
    sent = 96 * 4 * 2 * (7 / 8) * 2048 * 12288 * 2
    assert parts["tensor_comm"] == pytest.approx(sent / 1e9)


def test_stages_send_their_activations_both_ways() -> None:
    """b·s·h values forward and as many back per micro-batch, cut over tensor-parallel ranks (Narayanan et al. 2021, section 4.1)."""
    machine = replace(MACHINE, network_bytes_per_s=1e9)
    parts = ideal_step(Layout(tp=8, pp=2, global_batch=4), machine).parts
    assert parts["pipeline_comm"] == pytest.approx(4 * 2 * 2048 * 12288 * 2 / 8 / 1e9)


def test_replicas_reduce_their_gradients_once_per_step() -> None:
    """A ring all-reduce of fp16 gradients: each rank sends 2·(d-1)/d of 2 bytes per parameter."""
    machine = replace(MACHINE, network_bytes_per_s=1e9, domain=1)
    parts = ideal_step(Layout(dp=4, global_batch=8, zero=0), machine).parts
    assert parts["data_comm"] == pytest.approx(2 * (3 / 4) * 174_604_259_328 * 2 / 1e9)


def test_more_replicas_per_node_share_its_adapters() -> None:
    machine = replace(MACHINE, link_bytes_per_s=300e9, network_bytes_per_s=25e9, domain=8)
    assert bandwidth(machine, IDEAL, group=8, together=8) == 300e9
    assert bandwidth(machine, IDEAL, group=16, together=2) == 50e9
    assert bandwidth(machine, IDEAL, group=64, together=8) == 200e9
    assert (together(machine, stride=4, group=16), together(machine, stride=16, group=16)) == (2, 1)


def test_collectives_cost_what_rings_cost() -> None:
    assert all_reduce_s(8e9, 4, 1e9, IDEAL) == pytest.approx(2 * 3 / 4 * 8)
    assert all_reduce_s(8e9, 1, 1e9, IDEAL) == 0
    assert gather_s(8e9, 4, 1e9) == pytest.approx(6)


def test_a_token_crosses_the_network_once_per_node() -> None:
    """DeepSeek-V3 (arXiv 2412.19437), section 3.2.2: eight experts on at most four nodes are four crossings, three of them remote."""
    machine = replace(MACHINE, link_bytes_per_s=1e30, network_bytes_per_s=1e9, domain=8)
    assert all_to_all_s(1e9, 8, 32, machine, IDEAL) == pytest.approx(4 * (3 / 4))
    assert all_to_all_s(1e9, 8, 8, machine, IDEAL) == pytest.approx(0, abs=1e-12)


def test_a_matrix_product_pays_for_its_last_wave_and_its_depth() -> None:
    e = replace(IDEAL, tile_tail=0.5, depth=64.0)
    assert matmul_s(4096, 4096, 4096, 1e15, 100, IDEAL) == pytest.approx(2 * 4096**3 / 1e15)
    assert matmul_s(128, 128, 64, 1e15, 100, e) == pytest.approx(2 * 128 * 128 * 64 / 1e15 * (1 + 0.5 * 100) * 2)


def test_the_optimizer_moves_its_state_over_the_memory_bus() -> None:
    machine = replace(MACHINE, memory_bytes_per_s=1e12)
    plain = step_time(work_of(model("gpt2"), 1024), Layout(zero=0), machine, classic(), IDEAL).parts["optimizer"]
    assert plain == pytest.approx(124_439_808 * 28 / 1e12)
    sharded = step_time(work_of(model("gpt2"), 1024), Layout(dp=4, global_batch=4, zero=1), machine, classic(), IDEAL).parts["optimizer"]
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
    flop = 3 * work_of(model("gpt-3"), 2048).forward_flop(causal=False) * 128
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


def test_a_network_is_that_of_the_cluster_or_the_usual_one_and_is_said() -> None:
    a100, gb200 = hardware("a100-sxm4-80gb"), hardware("gb200-186gb")
    assert machine_of(a100, cluster="jean-zay").network_bytes_per_s == 6.25e9
    assert machine_of(a100, cluster="jean-zay").notes == ()
    assert any("25 GB/s per device is assumed" in note for note in machine_of(a100).notes)
    network = network_of(gb200)
    assert network is not None
    assert network.devices_per_domain == machine_of(gb200).domain == 72


def test_a_chip_with_more_memory_has_the_ceiling_of_its_sister() -> None:
    assert machine_of(hardware("a100-sxm4-40gb")).flop_per_s == machine_of(hardware("a100-sxm4-80gb")).flop_per_s


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


def test_the_interval_is_wider_where_nothing_was_measured() -> None:
    layout = Layout(dp=8, global_batch=64, zero=3)

    def width(name: str, device: str, dtype: str = "bf16") -> float:
        found = predict(model(name), 4096, layout, hardware(device), dtype=dtype)
        return found.high_s / found.low_s

    known = width("llama-3-8b", "h100-sxm5-80gb")
    assert width("llama-3-8b", "mi300x-192gb") > known
    assert width("llama-3-8b", "h100-sxm5-80gb", "fp8") > known
    assert width("mixtral-8x7b", "h100-sxm5-80gb") > known
    notes = predict(model("llama-3-8b"), 4096, layout, hardware("mi300x-192gb")).notes
    assert any("no measured step ran on CDNA3" in note for note in notes)


def fused(**facts: Any) -> Software:
    return replace(software(stack("megatron-core"), "Hopper", IDEAL), **facts)


def parts_of(name: str, layout: Layout, *, machine: Machine = MACHINE, e: Efficiency = IDEAL, on: Software | None = None) -> Any:
    return step_time(work_of(model(name), 2048), layout, machine, on or fused(), e).parts


def test_a_fused_kernel_makes_its_scores_anew_on_the_way_back() -> None:
    """Two products forward, five backward (Dao et al. 2022, arXiv 2205.14135, algorithm 4), on the pairs that the mask lets through."""
    pairs = 2048 * 2049 // 2
    forward_flop = 32 * 32 * pairs * 2 * 128 * 2
    assert parts_of("llama-2-7b", Layout())["attention"] == pytest.approx(3.5 * forward_flop / 1e15)


def test_an_odd_head_width_slows_unfused_products() -> None:
    """BLOOM's trials with 128 heads of width 108: no multiple of 8."""
    e = replace(IDEAL, odd_head=6.0)
    odd, even = (
        step_time(work_of(gpt(2, 13824, heads, 0, 51200, 2048), 2048), Layout(), MACHINE, classic(), e).parts["attention"]
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


def test_tokens_travel_to_their_experts_and_back_in_both_directions() -> None:
    """Dispatch and combine, forward and backward: four exchanges of 2 copies of 2,048 vectors of 4,096, 7 of 8 elsewhere, 32 layers."""
    machine = replace(MACHINE, link_bytes_per_s=1e9)
    sent = 4 * 32 * 2 * 2048 * 4096 * 2 * 7 / 8
    assert parts_of("mixtral-8x7b", Layout(dp=8, ep=8, global_batch=8), machine=machine)["expert_comm"] == pytest.approx(sent / 1e9)


def test_keys_and_values_go_round_the_ring_once_forward_and_with_their_gradients_back() -> None:
    """Liu et al. 2023, Ring Attention (arXiv 2310.01889), section 3: cp - 1 sends of the local keys and values; gradients double them."""
    machine = replace(MACHINE, link_bytes_per_s=1e9)
    local = 2048 / 4 * 2 * 4096 * 32 * 2
    assert parts_of("llama-2-7b", Layout(cp=4, global_batch=1), machine=machine)["context_comm"] == pytest.approx(3 * 3 * local / 1e9)


@pytest.mark.parametrize(("zero", "passes"), [(2, 1 + 4), (3, 3 * 4)])
def test_sharded_replicas_gather_weights_and_scatter_gradients(zero: int, passes: int) -> None:
    """16-bit weights: ZeRO-2 gathers once a step and scatters gradients of all 4 micro-batches, ZeRO-3 gathers twice for each as well."""
    machine, e = replace(MACHINE, link_bytes_per_s=1e9), replace(IDEAL, shard_exposed=0.0)
    params = 6_738_415_616
    found = parts_of("llama-2-7b", Layout(dp=8, zero=zero, global_batch=32), machine=machine, e=e)["data_comm"]
    assert found == pytest.approx(passes * 7 / 8 * 2 * params / 1e9)


def test_hybrid_sharding_gathers_within_the_group_and_reduces_between_groups() -> None:
    """Zhao et al. 2023, PyTorch FSDP (arXiv 2304.11277), section 3.2.2.

    Shards of 8, two groups: a group's shard of fp32 gradients crosses.
    """
    machine = replace(MACHINE, link_bytes_per_s=1e9, network_bytes_per_s=1e9, domain=8)
    e = replace(IDEAL, shard_exposed=0.0)
    params = 6_738_415_616
    within, between = 3 * 7 / 8 * 2 * params, 1 / 2 * 2 * 4 * params / 8
    found = parts_of("llama-2-7b", Layout(dp=16, zero=3, shard=8, global_batch=16), machine=machine, e=e)["data_comm"]
    assert found == pytest.approx((within + between) / 1e9, rel=1e-6)


def test_a_distributed_optimizer_scatters_gradients_and_gathers_weights() -> None:
    """Overlapped, as Megatron-Core: reduce-scatter of fp32 gradients, all-gather of 16-bit weights.

    Megatron of 2021 reduced to all first.
    """
    machine = replace(MACHINE, link_bytes_per_s=1e9)
    layout, params = Layout(dp=8, zero=1, global_batch=8), 6_738_415_616
    assert parts_of("llama-2-7b", layout, machine=machine)["data_comm"] == pytest.approx(7 / 8 * (4 + 2) * params / 1e9)
    old = parts_of("llama-2-7b", layout, machine=machine, on=classic())["data_comm"]
    assert old == pytest.approx(7 / 8 * (2 * 2 + 2) * params / 1e9)


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
    from estimators.architectures.lora import with_adapters

    machine, tuned = replace(MACHINE, memory_bytes_per_s=1e12), with_adapters(model("llama-2-7b"), 8)
    found = step_time(work_of(tuned, 2048), Layout(), machine, fused(dequantise_bytes=12.5), IDEAL).parts["dequantise"]
    assert found == pytest.approx((6_738_415_616 - 2 * 32000 * 4096) * 12.5 * 2 / 1e12, rel=2e-3)


def test_stragglers_add_a_share_for_each_doubling_beyond_a_node() -> None:
    e = replace(IDEAL, straggle=0.01)
    small, large = (parts_of("gpt2", Layout(dp=dp, global_batch=dp), e=e) for dp in (8, 64))
    assert small["straggle"] == 0
    assert large["straggle"] == pytest.approx(0.03 * sum(value for name, value in large.items() if name != "straggle"))
