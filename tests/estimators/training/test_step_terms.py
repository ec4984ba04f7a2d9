"""Terms of a step's ledger that one kind of software, device or layout has, against what its mechanism says by hand."""

from __future__ import annotations

import pytest

from estimators.cost.compute import SOCKET_DEVICES, fused_attention_s, matmul_s, product_bytes_s
from estimators.cost.layout import Layout
from estimators.cost.machine import ceilings, machine_of
from estimators.cost.software import software, stack
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.training.passes import pass_s
from estimators.training.prediction import predict
from estimators.training.sequence_cost import sequence_cost_of
from tests.support.ideal_machine import IDEAL, MACHINE, classic, fused, ideal_step, model, parts_of

SENT = 2 * 2048 * 4096 * 2
"""Bytes that a micro-batch of Llama 2 7B sends across a boundary: 2,048 vectors of 4,096 in 16 bits, there and back."""


class TestPipelineCommunication:
    def test_neighbouring_stages_in_one_domain_use_its_links_however_large_the_job(self) -> None:
        """Two stages of 4 devices stand in one domain of 8; two of 8 do not."""
        machine = replace(MACHINE, link_bytes_per_s=100e9, network_bytes_per_s=10e9, domain=8)
        near = parts_of("llama-2-7b", Layout(pp=8, dp=4, global_batch=32), machine=machine)["pipeline_comm"]
        far = parts_of("llama-2-7b", Layout(pp=4, dp=8, global_batch=64), machine=machine)["pipeline_comm"]
        assert near == pytest.approx(8 * SENT / 100e9)
        assert far == pytest.approx(8 * SENT / 10e9)

    def test_interleaved_chunks_are_sent_while_others_are_computed(self) -> None:
        """Narayanan et al. 2021 (arXiv 2104.04473), section 2.2: v chunks send v times as much; software that overlaps it hides most."""
        machine, e = replace(MACHINE, network_bytes_per_s=10e9), replace(IDEAL, interleaved_exposed=0.2)
        layout = Layout(pp=4, vp=4, dp=8, global_batch=32)
        hidden = parts_of("llama-2-7b", layout, machine=machine, e=e, on=fused(interleaved_exposed=0.2))["pipeline_comm"]
        shown = parts_of("llama-2-7b", layout, machine=machine, e=e, on=fused(interleaved_exposed=1.0))["pipeline_comm"]
        assert shown == pytest.approx(4 * 4 * SENT / 10e9)
        assert hidden == pytest.approx(0.2 * shown)

    def test_software_of_2021_overlaps_no_boundary(self) -> None:
        e = replace(IDEAL, interleaved_exposed=0.2, pipeline_exposed=0.7)
        exposed = {name: software(stack(name), "Ampere", e).interleaved_exposed for name in ("megatron-2021", "megatron-core")}
        assert exposed == {"megatron-2021": 0.7, "megatron-core": 0.2}

    def test_a_chunk_without_a_layer_has_room_for_the_head(self) -> None:
        """Llama 3.1 405B: 126 layers in 16 x 8 chunks leave a place at the end (arXiv 2407.21783, section 3.3.2), where its head is done
        before the layer of another stage; 14 stages of 9 leave none."""
        even, spare = (parts_of("llama-3.1-405b", Layout(pp=pp, vp=vp, global_batch=16)) for pp, vp in ((14, 1), (16, 8)))
        assert even["head"] == pytest.approx(16 * 6 * 2048 * 128256 * 16384 / 1e15)
        assert spare["head"] == 0

    def test_a_head_larger_than_a_layer_keeps_the_rest(self) -> None:
        """Gemma 2 9B: 42 layers in 4 x 11 places, a head of 256,000 rows."""
        even, spare = (parts_of("gemma-2-9b", Layout(pp=pp, global_batch=16)) for pp in (2, 4))
        layer = (even["matmul"] + even["attention"] + even["traffic"]) * 2 / 42
        assert spare["head"] == pytest.approx(even["head"] - layer, rel=1e-6)


class TestExperts:
    def test_a_few_rows_cost_the_reading_of_the_whole_matrix(self) -> None:
        """8 rows times 4,096 x 14,336 in bf16: 117 MB at 1 TB/s, where the products take a hundredth of it."""
        machine = replace(MACHINE, memory_bytes_per_s=1e12)
        moved = 2 * (8 * 4096 + 4096 * 14336 + 8 * 14336)
        assert product_bytes_s(8, 14336, 4096, machine) == pytest.approx(moved / 1e12)
        assert product_bytes_s(8, 14336, 4096, machine) > 100 * matmul_s(8, 14336, 4096, 1e15, 100, IDEAL)

    def test_below_16_bits_operands_are_a_byte_and_the_result_two(self) -> None:
        machine = replace(MACHINE, memory_bytes_per_s=1e12, low=True)
        assert product_bytes_s(8, 16, 4, machine) == pytest.approx((8 * 4 + 4 * 16 + 2 * 8 * 16) / 1e12)

    def test_experts_that_few_tokens_meet_take_as_long_as_their_weights_take_to_read(self) -> None:
        """Mixtral, one sequence of 8 tokens on one device: eight experts of three matrices, read three times in 32 layers."""
        machine = replace(MACHINE, memory_bytes_per_s=1e12)
        found = _step("mixtral-8x7b", 8, Layout(global_batch=1), machine)["experts"]
        weights = 3 * 4096 * 14336 * 8 * 32
        assert found == pytest.approx(3 * weights * 2 / 1e12, rel=0.01)

    def test_a_routed_layer_issues_three_and_a_half_times_the_operations(self) -> None:
        e = replace(IDEAL, launch_s=1e-6)
        found = parts_of("mixtral-8x7b", Layout(global_batch=1), e=e)["launch"]
        assert found == pytest.approx(3.5 * 45 * 32 * 2.5 * 1e-6, rel=1e-6)

    def test_the_release_moves_all_that_experts_take_and_nothing_of_a_dense_model(self) -> None:
        machine, e = replace(MACHINE, link_bytes_per_s=1e9), replace(IDEAL, experts_new=0.8, experts_old=1.2)
        layout = Layout(dp=8, ep=8, global_batch=8)
        old, usual, new = (
            parts_of(
                "mixtral-8x7b", layout, machine=machine, e=e, on=replace(software(stack(name), "Hopper (GH100)", e), tensor_exposed=1.0)
            )
            for name in ("megatron-core-2025", "megatron-core", "megatron-core-2026-06")
        )
        for part in ("experts", "expert_comm"):
            assert old[part] == pytest.approx(1.2 * usual[part])
            assert new[part] == pytest.approx(0.8 * usual[part])
        assert old["matmul"] == usual["matmul"] == new["matmul"]

    def test_tokens_that_travel_behind_compute_cost_what_does_not_fit_behind_it(self) -> None:
        layout, on = Layout(dp=64, ep=64, global_batch=64), software(stack("deepseek-2024"), "Hopper (GH100)", IDEAL)
        slow, fast = (replace(MACHINE, link_bytes_per_s=1e30, network_bytes_per_s=rate) for rate in (1e6, 1e12))
        assert parts_of("deepseek-v3", layout, machine=fast, on=on)["expert_comm"] == 0
        parts = parts_of("deepseek-v3", layout, machine=slow, on=on)
        computed = sum(parts[name] for name in ("matmul", "experts", "attention", "traffic"))
        # forward and backward, 58 routed layers, 2,048 vectors of 7,168, a byte there and two back, to 4 nodes, 7 of 8 of them others
        sent = 2 * 58 * 2048 * 7168 * 3 * 4 * 7 / 8
        assert parts["expert_comm"] == pytest.approx(sent / 1e6 - computed, rel=1e-3)

    def test_recorded_graphs_leave_the_host_nothing_to_issue(self) -> None:
        e = replace(IDEAL, host_op_s=1.0)
        assert parts_of("llama-2-7b", Layout(), e=e)["launch"] > 1000
        assert parts_of("llama-2-7b", Layout(), e=e, on=fused(graphs=True))["launch"] == pytest.approx(0, abs=1e-6)


class TestAttention:
    def test_layers_with_sinks_and_a_window_are_multiplied_plainly(self) -> None:
        """GPT-OSS 120B: 18 of 36 layers have a window of 128; the whole square of 64 heads of width 64 is formed there."""
        work = sequence_cost_of(model("gpt-oss-120b"), 2048)
        assert work.unfused_flop == 18 * 2 * 2 * 64 * 64 * 2048 * 2048
        assert work.unfused_score_elements == 18 * 64 * 2048 * 2048

    def test_scores_that_no_memory_holds_are_never_written(self) -> None:
        """131,072 tokens: 64 heads x 131,072^2 x 2 bytes are 2.2 TB a layer; the window alone is multiplied, as in a fused kernel."""
        work, on = sequence_cost_of(model("gpt-oss-120b"), 131_072), fused()
        forward, backward = pass_s(work, Layout(), MACHINE, on, IDEAL).attention
        visible_flop = work.attention_flop - work.masked_flop
        assert forward == pytest.approx(fused_attention_s(visible_flop, work.head_width, MACHINE, on, IDEAL))
        assert backward == pytest.approx(2.5 * forward)

    def test_the_answer_says_which_kernel_is_assumed_where_none_is_fused(self) -> None:
        """64 heads x T^2 x 2 bytes are 79.2 GiB at 25,776 tokens: a layer's scores fit at 24,576, and at 26,624 two ranks hold them."""
        device = hardware("h100-sxm5-80gb")

        def said(seq_len: int, tp: int = 1) -> str:
            layout = Layout(tp=tp, global_batch=1)
            return " ".join(predict(model("gpt-oss-120b"), seq_len, layout, device, stack_id="megatron-core").notes)

        assert "18 layers with sinks and a window: no fused kernel" in said(24_576)
        assert "18 layers with sinks and a window: no memory holds" in said(26_624)
        assert "18 layers with sinks and a window: no fused kernel" in said(26_624, tp=2)
        assert "sinks" not in " ".join(predict(model("mistral-7b"), 8192, Layout(), device).notes)

    @pytest.mark.parametrize("name", ["llama-2-7b", "gemma-2-9b", "mistral-7b"])
    def test_windows_without_sinks_are_fused(self, name: str) -> None:
        assert sequence_cost_of(model(name), 2048).unfused_flop == 0

    def test_each_generation_has_its_own_share(self) -> None:
        e = replace(IDEAL, attention_fused=0.5, attention_blackwell=0.4, attention_ultra=0.45, attention_flash2_ampere=0.6)
        core = stack("megatron-core")
        shares = [
            software(core, name, e).attention for name in ("Ampere (GA100)", "Hopper (GH100)", "Blackwell (GB100)", "Blackwell Ultra")
        ]
        assert shares == [0.6, 0.5, 0.4, 0.45]


class TestProductsAndLoss:
    def test_products_below_16_bits_pay_for_their_casts(self) -> None:
        low, e = replace(MACHINE, low=True), replace(IDEAL, low_matmul=1.1)
        plain = parts_of("llama-2-7b", Layout(), machine=low)
        cast = parts_of("llama-2-7b", Layout(), machine=low, e=e)
        assert cast["matmul"] == pytest.approx(1.1 * plain["matmul"])
        assert cast["head"] == pytest.approx(plain["head"])

    def test_a_fused_weight_gradient_hides_part_of_the_adding(self) -> None:
        e = replace(IDEAL, accumulate_exposed=0.4)
        bytes_by_stack = {name: software(stack(name), "Hopper", e).accumulate_bytes for name in ("megatron-2021", "megatron-core")}
        assert bytes_by_stack == {"megatron-2021": 6, "megatron-core": pytest.approx(0.4 * 8)}

    def test_an_unfused_loss_moves_four_times_the_bytes(self) -> None:
        """Megatron's of 2021 in fp32: cast, maximum, difference, exponential, sum, quotient, gradient, cast."""
        machine = replace(MACHINE, memory_bytes_per_s=1e12)
        logits, layout = 2048 * 50257, Layout(global_batch=1)
        product = ideal_step(layout).parts["head"]
        assert ideal_step(layout, machine).parts["head"] - product == pytest.approx(58 * logits / 1e12, rel=1e-6)


def test_collectives_over_more_than_a_socket_wait_for_the_slowest_host() -> None:
    """Two collectives a layer and direction, in a step that the host bounds."""
    e = replace(IDEAL, host_op_s=1.0, sync_s=100.0)
    four, eight = (parts_of("llama-2-7b", Layout(tp=tp), e=e)["launch"] for tp in (SOCKET_DEVICES, 2 * SOCKET_DEVICES))
    assert four == pytest.approx(51 * 32 * 2, rel=1e-3)
    assert eight == pytest.approx(four + 2 * 2 * 32 * 100, rel=1e-3)


def test_a_cluster_s_own_ceiling_counts_for_it_alone() -> None:
    """SimuMax's B200 sustains 0.51 of 2,250 TFLOP/s in bf16 by its own table; another B200 has the burst of others."""
    b200 = hardware("b200-sxm-180gb")
    assert machine_of(b200, cluster="simumax").flop_per_s == pytest.approx(0.51 * 2250e12, rel=0.01)
    assert machine_of(b200).flop_per_s == ceilings()["b200-sxm-180gb", "bf16"] == 1.698e15


def _step(name: str, seq_len: int, layout: Layout, machine: object) -> dict[str, float]:
    from estimators.training.step import step_time

    return step_time(sequence_cost_of(model(name), seq_len), layout, machine, fused(), IDEAL).parts  # type: ignore[arg-type, return-value]


def test_software_of_2021_keeps_the_host_busy_with_what_starts_no_kernel() -> None:
    assert classic().kernels_per_layer < classic().launches_per_layer
