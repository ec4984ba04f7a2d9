"""What parallel layouts send, against the bytes that papers say, on links of a gigabyte a second."""

from __future__ import annotations

import pytest

from estimators.cost.collectives import all_reduce_s, all_to_all_s, bandwidth, gather_s, together
from estimators.cost.layout import Layout
from estimators.frozen import replace
from tests.support.ideal_machine import IDEAL, MACHINE, classic, ideal_step, parts_of


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
    assert all_to_all_s(1e9, 8, 32, machine, IDEAL, most_nodes=8) == pytest.approx(4 * (3 / 4))
    assert all_to_all_s(1e9, 8, 8, machine, IDEAL, most_nodes=8) == pytest.approx(0, abs=1e-12)


def test_a_token_sent_to_few_nodes_crosses_the_network_once_for_each_of_those() -> None:
    """DeepSeek-V3 (arXiv 2412.19437), section 2.1.2: at most four of eight nodes; 7 of 8 of them are others."""
    machine = replace(MACHINE, link_bytes_per_s=1e30, network_bytes_per_s=1e9, domain=8)
    assert all_to_all_s(1e9, 8, 64, machine, IDEAL, most_nodes=4) == pytest.approx(4 * (7 / 8))


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


def test_heads_of_keys_that_ranks_repeat_go_round_by_each() -> None:
    """Llama 3 8B has 8 heads of keys of width 128: of 16 ranks each passes on one, as of 8."""
    machine = replace(MACHINE, link_bytes_per_s=1e9, domain=1024)
    local = 2048 / 2 * 2 * 128 * 32 * 2
    for tp in (8, 16):
        found = parts_of("llama-3-8b", Layout(tp=tp, cp=2, global_batch=1), machine=machine)["context_comm"]
        assert found == pytest.approx(3 * local / 1e9)


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
