"""Figures of one run against one another, with the arithmetic of public threads by hand."""

from __future__ import annotations

import pytest

from estimators.diagnosis.answer import Diagnosis, diagnose
from estimators.diagnosis.observed import Figure, Observed, Quantity, Scope, Setting
from estimators.diagnosis.question import question_of
from estimators.errors import BadValueError


def figure(quantity: Quantity, value: float, scope: Scope = "job", digits: int = 4) -> Figure:
    return Figure(quantity=quantity, value=value, scope=scope, digits=digits)


def answer(*figures: Figure, **setting: object) -> Diagnosis:
    return diagnose(question_of(Observed(figures=figures, setting=Setting(**setting))))  # type: ignore[arg-type]


def test_a_total_that_is_labelled_as_one_gpus_needs_no_model() -> None:
    """axolotl#3362: 4 x 8 x 4,096 = 131,072 tokens a step in 1.93 s are 67,913 of the job and 8,489 of each GPU."""
    found = answer(
        figure("tokens_per_s", 68000, "device", 2), figure("step_time_s", 1.93), num_devices=8, seq_len=4096, micro_batch=4, accumulation=1
    )
    assert (found.verdict, found.cause_ids[0]) == ("MISCOUNTED", "total_as_per_gpu")
    assert found.judged.corrected == pytest.approx(131072 / 1.93 / 8)
    assert found.expected is None


def test_ranks_that_hold_the_same_tokens_are_told_from_those_that_do_not() -> None:
    """TRL#7100: one sample of 5 tokens on tp=2 is 5 tokens and not 10. torchtitan#2990: 5 steps of 32 x 2,048 are 327,680."""
    once = {"num_devices": 2, "seq_len": 5, "global_batch": 1, "tp": 2}
    assert answer(figure("tokens", 10), figure("steps", 1), **once).cause_ids == ("tp_counted",)
    five = {"num_devices": 4, "seq_len": 2048, "global_batch": 32}
    assert answer(figure("tokens", 327680), figure("steps", 5), dp=4, **five).verdict == "NORMAL"
    twice = answer(figure("tokens", 655360), figure("steps", 5), dp=2, cp=2, **five)
    assert (twice.cause_ids[:2], twice.judged.corrected) == (("cp_counted", "dp_counted"), 327680)
    assert twice.judged.ties


def test_a_total_over_one_peak_is_found_in_a_whole_run() -> None:
    """huggingface/blog#1649: 16 x 500 x 2,048 tokens in 13.5 h on 16 A100; 45.51 % is 142 TFLOP/s of sixteen over one peak, so 2.84 %."""
    found = answer(
        figure("mfu_fraction", 0.4551, "device"),
        figure("steps", 500, digits=0),
        figure("wall_time_s", 48600, digits=0),
        model="llama-2-70b",
        hardware="a100-sxm4-80gb",
        num_devices=16,
        seq_len=2048,
        global_batch=16,
    )
    assert found.cause_ids[0] == "total_over_one_peak"
    assert found.judged.corrected == pytest.approx(0.02844, rel=1e-3)


def test_a_lost_digit_is_found() -> None:
    """prime-diloco#10: 5,502,402,560 tokens in 147.75 minutes are 620,688 a second."""
    found = answer(figure("tokens_per_s", 62000, digits=2), figure("tokens", 5502402560, digits=0), figure("wall_time_s", 8865, digits=0))
    assert found.cause_ids[0] == "decimal_slip"
    assert found.judged.corrected == pytest.approx(620688.4, rel=1e-5)


def test_a_printed_utilization_over_another_devices_peak_is_known_without_a_model() -> None:
    """OLMo-core#817: 275.6 TFLOP/s on a B300 printed as 88.32 % are of an A100's 312, and 12.25 % of its own 2,250."""
    found = answer(
        figure("mfu_fraction", 0.8832, "device"), figure("flop_per_s", 275.6e12, "device"), hardware="b300-sxm-288gb", num_devices=16
    )
    assert (found.verdict, found.cause_ids[0]) == ("MISCOUNTED", "wrong_peak")
    assert found.judged.corrected == pytest.approx(275.6 / 2250, rel=1e-3)


def test_utilization_and_rate_that_no_factor_joins_are_said_to_disagree() -> None:
    """fms-fsdp#67: 3,700 tokens/s of an A100 at 46.9 GFLOP a token are 0.556 of 312, and not 0.15."""
    found = answer(
        figure("mfu_fraction", 0.15, "device", 2),
        figure("tokens_per_s", 3700, "device", 2),
        model="llama-2-7b",
        hardware="a100-sxm4-80gb",
        num_devices=8,
        seq_len=4096,
    )
    assert (found.verdict, found.cause_ids[0]) == ("MISCOUNTED", "mfu_disagrees_with_rate")
    assert found.judged.corrected == pytest.approx(0.556, rel=0.03)


def test_experts_counted_as_all_used_and_frozen_weights_counted_as_trained() -> None:
    """(6 x 30.5e9 + 12 x 48 x 4,096 x 4,096) x 12,000 / 989.5e12 = 2.34 of Qwen3-30B-A3B; 6N for 4N is 1.5 of a LoRA."""
    h100 = {"hardware": "h100-sxm5-80gb", "seq_len": 4096}
    moe = answer(
        figure("mfu_fraction", 2.3, "device", 2), figure("tokens_per_s", 12000, "device", 2), model="qwen3-30b-a3b", num_devices=8, **h100
    )
    assert (moe.verdict, moe.cause_ids[0]) == ("IMPOSSIBLE", "total_for_active")
    assert moe.judged.corrected == pytest.approx(0.339, rel=0.03)
    lora = answer(
        figure("mfu_fraction", 0.47, "device", 2),
        figure("tokens_per_s", 9000, "device", 1),
        model="llama-3-8b",
        method="lora",
        num_devices=1,
        hardware="h100-sxm5-80gb",
        seq_len=2048,
    )
    assert (lora.verdict, lora.cause_ids[0]) == ("MISCOUNTED", "frozen_counted")


def test_what_agrees_by_a_tools_own_count_is_no_slip() -> None:
    """PaLM's 6N + 12LHQT of Llama 2 7B is 46.87 GFLOP a token: 3,700 tokens/s are 0.5559, printed by llm-foundry."""
    found = answer(
        figure("tokens_per_s", 3700, "device"),
        figure("mfu_fraction", 0.5559, "device"),
        model="llama-2-7b",
        hardware="a100-sxm4-80gb",
        num_devices=8,
        seq_len=4096,
        software="llm-foundry",
    )
    assert found.verdict == "NORMAL"
    assert all(check.agrees for check in found.checks)


def test_nanogpts_printed_share_on_an_h100_is_impossible_while_its_run_is_normal() -> None:
    """Sequences of 4,096 of Llama 3 8B, 4 on each of 8 H100, in 1.93 s: nanoGPT prints 148.62 %, over an A100's 312."""
    run = {
        "model": "llama-3-8b",
        "hardware": "h100-sxm5-80gb",
        "num_devices": 8,
        "seq_len": 4096,
        "micro_batch": 4,
        "accumulation": 1,
        "software": "nanoGPT",
    }
    time, printed = figure("step_time_s", 1.93), figure("mfu_fraction", 1.4862, "device", 5)
    assert answer(time, printed, **run).verdict == "NORMAL"
    alone = answer(printed, time, **run)
    assert (alone.verdict, alone.cause_ids[0]) == ("IMPOSSIBLE", "wrong_peak")
    assert alone.judged.corrected == pytest.approx(0.4686, rel=1e-3)  # Composer prints 0.4686 of the same run


def test_without_a_device_nothing_is_assumed_and_the_deciding_fact_is_named() -> None:
    found = answer(figure("tokens_per_s", 3700, "device"), model="llama-2-7b", seq_len=4096, num_devices=8)
    assert (found.verdict, found.expected, found.least) == ("UNKNOWN", None, None)
    assert found.missing[0].flag == "--hardware NAME"


def test_a_peak_that_is_stated_beside_a_utilization_is_held_to_the_data_sheet() -> None:
    """NVIDIA's H100 data sheet prints 1,979 TFLOP/s with sparsity: half of it is dense, so that 20.5 % of it are 41 %."""
    found = answer(
        figure("mfu_fraction", 0.205, "device", 3), figure("peak_flop_per_s", 1979e12, "device"), hardware="h100-sxm5-80gb", num_devices=8
    )
    assert (found.verdict, found.cause_ids) == ("MISCOUNTED", ("sparse_peak",))
    assert found.judged.corrected == pytest.approx(0.41, rel=1e-3)


def test_recomputation_in_an_mfu_is_a_slip_unless_it_is_the_tools_own_way() -> None:
    """3,000 tokens/s at 46.08 GFLOP a token are 0.443 of 312; the layers' forward pass once more makes 61.18 GFLOP and 0.588."""
    run = {"model": "llama-2-7b", "hardware": "a100-sxm4-80gb", "num_devices": 8, "seq_len": 4096, "recompute": "full"}
    figures = figure("mfu_fraction", 0.588, "device", 3), figure("tokens_per_s", 3000, "device")
    found = answer(*figures, **run)
    assert (found.verdict, found.cause_ids[0]) == ("MISCOUNTED", "recompute_counted")
    assert found.judged.corrected == pytest.approx(0.443, rel=2e-3)
    assert answer(*figures, software="megatron-2021", **run).checks[0].agrees


def test_tokens_that_bear_a_loss_are_no_rate_of_the_run() -> None:
    loss = Figure(quantity="tokens_per_s", value=410.0, includes=("masked tokens",))
    found = answer(loss, figure("tokens", 100_000, digits=0), figure("wall_time_s", 100.0))
    assert (found.verdict, found.cause_ids[0]) == ("MISCOUNTED", "masked_excluded")
    assert found.judged.corrected == pytest.approx(1000.0)


def test_a_share_of_the_step_that_was_measured_comes_before_what_is_only_suspected() -> None:
    run = Setting(model="llama-2-7b", hardware="a100-sxm4-80gb", num_devices=8, seq_len=4096)
    slow = Observed(figures=(figure("tokens_per_s", 900, "device"),), setting=run, shares={"loader": 0.62, "idle": 0.08, "forward": 0.3})
    found = diagnose(question_of(slow))
    assert (found.verdict, found.cause_ids[:2]) == ("SLOW", ("data_loader_suspected", "host_bound_small_model"))
    assert (found.suspects[0].saves_fraction, found.suspects[0].worth) == (0.62, "up to 62.0 % of the time")


def test_a_figure_must_be_finite_and_known() -> None:
    with pytest.raises(BadValueError, match="expected a finite number above 0"):
        figure("tokens_per_s", float("nan"))
    with pytest.raises(BadValueError, match="quantity 'speed' is unknown"):
        figure("speed", 1.0)  # type: ignore[arg-type]
