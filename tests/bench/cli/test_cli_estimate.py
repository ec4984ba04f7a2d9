"""`estimate`: published trainings, claims, budgets, deadlines and single steps, through the command line."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from bench.cli.main import main

GPT3 = ["--model", "gpt-3", "--tokens", "300B"]
GPT3_ON_A100 = [*GPT3, "--hardware", "a100-sxm4-80gb", "--gpus", "1024"]
PHI2_CLAIM = ["--model", "phi-2", "--tokens", "1.4T", "--hardware", "a100-sxm4-80gb", "--gpus", "96", "--days", "14"]

# Brown et al. 2020 (arXiv 2005.14165), table D.1: model, total train compute in FLOP, 300 billion tokens each.
TABLE_D1 = [
    ("gpt-3-small", 2.25e20),
    ("gpt-3-medium", 6.41e20),
    ("gpt-3-large", 1.37e21),
    ("gpt-3-xl", 2.38e21),
    ("gpt-3-2.7b", 4.77e21),
    ("gpt-3-6.7b", 1.20e22),
    ("gpt-3-13b", 2.31e22),
    ("gpt-3-175b", 3.14e23),
]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0) -> Any:
        assert main(["estimate", *words, "--format", "json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_gpt_3_costs_what_the_paper_says(answer: Any) -> None:
    # Table D.1: 3.14e23 by 6·N·D. Exact: 300e9 / 2048 sequences of forward 734,804,261,732,352 FLOP (torch's counter
    # on meta) and twice that backward; half of the attention square is 1.35 % of it.
    body = answer(*GPT3_ON_A100, "--utilization", "0.45")
    assert body["params"] == 174_604_259_328
    assert body["training_flop"] == 3 * 734_804_261_732_352 * 300 * 10**9 // 2048
    assert body["training_flop_by_convention"]["6nd"] == 6 * 174_604_259_328 * 300 * 10**9
    assert f"{body['training_flop_by_convention']['6nd']:.2e}" == "3.14e+23"
    assert f"{body['training_flop']:.6e}" == "3.229120e+23"
    assert f"{body['training_flop_by_convention']['causal']:.6e}" == "3.185634e+23"


def test_days_energy_and_money_follow_by_hand(answer: Any) -> None:
    # 3.22912029e23 / (312e12 · 0.45) = 2.2999e9 s = 26,620 GPU-days; / 1024 = 26.0 days; · 400 W = 0.92 TJ; at $2 an hour.
    body = answer(*GPT3_ON_A100, "--utilization", "0.45", "--price", "2")
    gpu_seconds = 322_912_029_081_600_000_000_000 / (312e12 * 0.45)
    assert body["gpu_days"] == pytest.approx(gpu_seconds / 86400)
    assert body["gpu_hours"] == pytest.approx(gpu_seconds / 3600)
    assert body["wall_days"] == pytest.approx(gpu_seconds / 86400 / 1024)
    assert body["wall_days"] == pytest.approx(26.0, abs=0.05)
    assert body["energy_j"] == pytest.approx(400 * gpu_seconds)
    assert body["cost_usd_low"] == body["cost_usd_median"] == body["cost_usd_high"] == pytest.approx(2 * gpu_seconds / 3600)
    assert body["utilization_fraction"] == 0.45
    assert body["convention"] == "full"


@pytest.mark.parametrize(("model", "flop"), TABLE_D1)
def test_each_row_of_table_d1(model: str, flop: float, answer: Any) -> None:
    # The table works with parameters rounded to three figures or whole millions: within 0.6 %.
    assert answer("--model", model, "--tokens", "300B")["training_flop_by_convention"]["6nd"] == pytest.approx(flop, rel=0.006)


def test_megatron_s_34_days_for_gpt_3(answer: Any) -> None:
    # Narayanan et al. 2021 (arXiv 2104.04473), section 5.1: 175B parameters, 300B tokens, 1024 A100 at 140 TFLOP/s (which
    # counts recomputation): "34 days". Their equation 4, 8TP/(nX), is 33.8 d; the exact count with recomputation 34.7 d.
    body = answer(*GPT3_ON_A100, "--utilization", str(140 / 312), "--convention", "hardware")
    assert body["wall_days"] == pytest.approx(8 * 300e9 * 174.6e9 / (1024 * 140e12) / 86400, rel=0.03)
    assert body["wall_days"] == pytest.approx(34.7, abs=0.05)


def test_the_convention_scales_the_days_and_nothing_else(answer: Any) -> None:
    found = {c: answer(*GPT3_ON_A100, "--utilization", "0.4", "--convention", c) for c in ("full", "causal", "hardware", "6nd")}
    flop = found["full"]["training_flop_by_convention"]
    for name, body in found.items():
        assert body["training_flop_by_convention"] == flop
        assert body["training_flop"] == flop[name]
        assert body["gpu_days"] == pytest.approx(found["full"]["gpu_days"] * flop[name] / flop["full"])


class TestUtilization:
    def test_where_no_step_is_predicted_the_published_range_is_used_and_named(self, answer: Any) -> None:
        body = answer("--model", "t5-3b", "--tokens", "300B", "--hardware", "a100-sxm4-80gb")
        shares = [row["utilization_fraction"] for row in body["rows"]]
        assert [row["scenario"] for row in body["rows"]] == ["low", "median", "high"]
        assert 0 < shares[0] < shares[1] < shares[2] < 1
        assert body["utilization_fraction"] == shares[1]
        assert "published_runs.csv" in body["utilization_source"]
        assert "No step is predicted: t5-3b is not a decoder with a head" in body["utilization_source"]

    def test_more_utilization_is_never_slower(self, answer: Any) -> None:
        days = [row["gpu_days"] for row in answer("--model", "t5-3b", "--tokens", "300B", "--hardware", "a100-sxm4-80gb")["rows"]]
        assert days == sorted(days, reverse=True)

    def test_percent_and_fraction_are_the_same(self, answer: Any) -> None:
        assert answer(*GPT3_ON_A100, "--utilization", "45%")["gpu_days"] == answer(*GPT3_ON_A100, "--utilization", "0.45")["gpu_days"]

    def test_it_is_stated_in_every_head(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["estimate", *GPT3_ON_A100, "--utilization", "0.45", "-v"])
        assert "utilization 45.0 % of that peak: given by --utilization" in capsys.readouterr().out


class TestMissing:
    def test_no_devices_means_no_wall_time_but_gpu_days(self, answer: Any) -> None:
        body = answer(*GPT3, "--hardware", "a100-sxm4-80gb", "--utilization", "0.4")
        assert body["wall_days"] is None
        assert "--gpus" in body["unavailable"]["wall_days"]
        assert body["gpu_days"] > 0

    def test_no_hardware_means_flop_alone(self, answer: Any) -> None:
        body = answer(*GPT3)
        assert "gpu_days" not in body
        assert "--hardware" in body["unavailable"]["gpu_days"]
        assert body["training_flop"] > 0

    def test_no_price_known_is_said_and_not_0(self, answer: Any) -> None:
        body = answer(*GPT3, "--hardware", "p100-sxm2-16gb", "--dtype", "fp16", "--utilization", "0.4")
        assert body["cost_usd_median"] is None
        assert "--price" in body["unavailable"]["cost_usd"]

    def test_devices_too_few_for_the_training_state_are_told(self, answer: Any) -> None:
        # 18 bytes per parameter (4 + 4 + 8 + 2) are 3.143e12; 79.2 GiB each: 37 devices.
        notes = answer(*GPT3, "--hardware", "a100-sxm4-80gb", "--gpus", "8", "--utilization", "0.4")["notes"]
        assert any("cannot hold that, at least 37 devices are needed" in note for note in notes)

    def test_enough_devices_are_not_told_so(self, answer: Any) -> None:
        assert not any("cannot hold" in note for note in answer(*GPT3_ON_A100, "--utilization", "0.4")["notes"])


class TestClaim:
    def test_phi_2_in_14_days_implies_64_percent_by_6nd_and_69_counted_full(self, answer: Any) -> None:
        # Model card microsoft/phi-2: 1.4T tokens, 96 x A100-80G, 14 days. 6 · 2,779,683,840 · 1.4e12 / (96 · 14 · 86400 · 312e12).
        body = answer(*PHI2_CLAIM)
        by = body["implied_utilization_fraction_by_convention"]
        assert by["6nd"] == pytest.approx(6 * 2_779_683_840 * 1.4e12 / (96 * 14 * 86400 * 312e12))
        assert by["6nd"] == pytest.approx(0.644, abs=0.0006)
        assert by["full"] == pytest.approx(0.692, abs=0.0005)
        assert body["implied_utilization_fraction"] == by["6nd"], "the headline is what published runs are compared by"

    def test_it_is_placed_among_published_runs_by_name(self, answer: Any) -> None:
        body = answer(*PHI2_CLAIM)
        assert body["verdict"] == "above every published run"
        shares = {row["run"]: row["utilization_fraction"] for row in body["nearest"]["rows"]}
        assert shares["TinyLlama 1.1B"] == 0.56  # its README reports 56 %
        assert "Phi-2" not in shares, "the claim must not vouch for itself"

    def test_both_sides_are_heard(self, answer: Any) -> None:
        notes = answer(*PHI2_CLAIM)["notes"]
        assert any(note.startswith("Doubt it:") for note in notes)
        assert any(note.startswith("Believe it:") for note in notes)
        # 1.35T in 14.5 days to 1.45T in 13.5 days round to the same figures.
        assert any("60.0 % to 69.2 %" in note for note in notes)

    def test_a_claim_within_the_published_range_is_not_doubted_on_that_account(self, answer: Any) -> None:
        body = answer(*PHI2_CLAIM[:-1], "25")
        assert body["verdict"] == "ordinary"
        assert not any("left for slower products" in note for note in body["notes"])

    def test_exact_figures_have_no_rounding(self, answer: Any) -> None:
        notes = answer("--model", "phi-2", "--tokens", "1412345678901", *PHI2_CLAIM[4:-1], "333h")["notes"]
        assert not any(note.startswith("Rounding:") for note in notes)

    def test_above_the_peak_is_impossible_and_exit_1(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["estimate", *PHI2_CLAIM[:-1], "9"]) == 1
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith("error: Impossible: what no kernel may skip takes 102 % of the dense peak for 9.00 days;")
        assert err.count("\n") == 1

    def test_a_split_model_is_doubted_for_that(self, answer: Any) -> None:
        notes = answer(*GPT3_ON_A100, "--days", "20")["notes"]
        assert any(note.startswith("Doubt it: the training state of 2.86 TiB") for note in notes)

    def test_recomputation_above_the_peak_is_said(self, answer: Any) -> None:
        notes = answer(*PHI2_CLAIM[:-1], "12d")["notes"]
        assert any("With every activation recomputed it passes the peak" in note for note in notes)


class TestDeadlineAndBudget:
    def test_the_devices_of_a_deadline_meet_it_and_one_less_does_not(self, answer: Any) -> None:
        question = ["--model", "llama-3-8b", "--tokens", "1T", "--hardware", "h100-sxm5-80gb", "--utilization", "0.4"]
        needed = answer(*question, "--deadline", "30d")["deadline_num_devices"]
        assert answer(*question, "--gpus", str(needed))["wall_days"] <= 30
        assert answer(*question, "--gpus", str(needed - 1))["wall_days"] > 30

    def test_the_tokens_of_a_budget_cost_it(self, answer: Any) -> None:
        question = ["--model", "llama-3-8b", "--hardware", "h100-sxm5-80gb", "--utilization", "0.4"]
        tokens = answer(*question, "--budget-gpu-days", "1000")["budget_tokens"]
        assert answer(*question, "--tokens", str(tokens))["gpu_days"] == pytest.approx(1000)

    def test_money_buys_hours_at_the_price(self, answer: Any) -> None:
        # $48,000 at $2 an hour are 24,000 GPU-hours, 1,000 GPU-days.
        question = ["--model", "llama-3-8b", "--hardware", "h100-sxm5-80gb", "--utilization", "0.4", "--price", "2"]
        assert answer(*question, "--budget-usd", "$48k")["budget_tokens"] == answer(*question, "--budget-gpu-days", "1k")["budget_tokens"]

    @pytest.mark.parametrize(("model", "shares"), [("phi-2", 1), ("t5-3b", 3)])
    def test_a_budget_alone_shows_every_price_and_utilization(self, answer: Any, model: str, shares: int) -> None:
        rows = answer("--model", model, "--hardware", "a100-sxm4-80gb", "--budget-usd", "1M")["rows"]
        assert len(rows) == 3 * shares  # low, median and high price
        tokens = [row["tokens"] for row in rows]
        assert max(tokens) == rows[-1]["tokens"]
        assert min(tokens) == rows[0]["tokens"]

    def test_a_question_comes_first_and_the_facts_stay_on_top(self, answer: Any) -> None:
        body = answer(*GPT3_ON_A100, "--utilization", "0.4", "--deadline", "60d")
        assert "within 60.0 days" in body["title"]
        assert body["gpu_days"] > 0
        assert body["training"]["rows"][0]["gpu_days"] == body["gpu_days"]


class TestSteps:
    def test_phi_2_at_512_tokens_is_what_torch_counts(self, answer: Any) -> None:
        # torch.utils.flop_counter on meta, transformers' PhiForCausalLM: forward of 512 tokens 2,797,097,451,520;
        # one decode step after 512 cached tokens 5,463,408,640.
        body = answer("--model", "phi-2", "--seq-len", "512", "--prompt-tokens", "512")
        assert body["forward_flop"] == 2_797_097_451_520
        assert body["decode_flop"] == 5_463_408_640
        assert body["train_step_flop"] == 3 * 2_797_097_451_520

    def test_the_decode_bound_is_weights_and_cache_over_bandwidth(self, answer: Any) -> None:
        # Llama-2-7B, bf16, A100-80GB SXM, after 512 cached: 2 · (6,738,415,616 - 131,072,000 looked up + 4,096 of the row read)
        # bytes of weights, 513 tokens · 2 · 32 layers · 4,096 · 2 bytes of cache, 2,039 GB/s: 6.6 ms.
        body = answer("--model", "llama-2-7b", "--hardware", "a100-sxm4-80gb", "--prompt-tokens", "512", "--new-tokens", "128")
        weights = 2 * (6_738_415_616 - 131_072_000 + 4_096)
        cache = 513 * 2 * 32 * 4096 * 2
        assert body["decode_time_bound_s"] == pytest.approx((weights + cache) / 2039e9)

    def test_the_kv_cache_of_640_tokens_is_exact(self, answer: Any) -> None:
        # 2 · 32 layers · 4,096 · 2 bytes · 640 tokens = 335,544,320; the last of 128 new tokens is never cached.
        body = answer("--model", "llama-2-7b", "--prompt-tokens", "513", "--new-tokens", "128")
        assert body["inference_kv_cache_bytes"] == 335_544_320

    def test_training_memory_is_16_bytes_per_parameter_and_2_of_copies(self, answer: Any) -> None:
        # 4 weights + 4 gradients + 8 AdamW moments in fp32, 2 bf16 copies: Rajbhandari et al. 2019 (arXiv 1910.02054), section 3.1,
        # with fp32 gradients.
        body = answer("--model", "gpt2")
        parts = ("weights", "gradients", "optimizer", "low_precision_copies")
        assert sum(body[f"training_{part}_bytes"] for part in parts) == 18 * 124_439_808

    def test_a_generation_is_the_sum_of_its_steps(self, answer: Any) -> None:
        words = ["--model", "gpt2", "--prompt-tokens", "10"]
        whole = answer(*words, "--new-tokens", "4")["generation_flop"]
        steps = [answer("--model", "gpt2", "--prompt-tokens", str(n))["decode_flop"] for n in (10, 11, 12)]
        assert whole == answer(*words)["prefill_flop"] + sum(steps)

    def test_beams_multiply_the_rows(self, answer: Any) -> None:
        words = ["--model", "gpt2", "--prompt-tokens", "10", "--new-tokens", "4"]
        assert answer(*words, "--num-beams", "5")["generation_flop"] == 5 * answer(*words)["generation_flop"]

    def test_a_device_that_cannot_hold_the_model_is_told(self, answer: Any) -> None:
        # 405,853,388,800 · 2 bytes are 756 GiB; a H100 shows 79.2 GiB: 10 of them.
        words = ["--hardware", "h100-sxm5-80gb", "--prompt-tokens", "100", "--new-tokens", "10"]
        assert any("at least 10 devices are needed" in note for note in answer("--model", "llama-3.1-405b", *words)["notes"])
        assert not any("devices are needed" in note for note in answer("--model", "phi-2", *words)["notes"])

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            # 18 bytes a parameter, fp32 state of AdamW and a 16-bit copy, are 46.6 GiB of Phi-2's 2,779,683,840 before any activation.
            (["phi-2", "--hardware", "rtx-4090-24gb"], True),
            (["phi-2", "--hardware", "a100-sxm4-80gb"], False),
            (["phi-2", "--hardware", "rtx-4090-24gb", "--prompt-tokens", "12"], False),
            (["phi-2"], False),
        ],
    )
    def test_a_training_that_one_device_cannot_hold_is_doubted_on_the_screen(
        self, words: list[str], told: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["estimate", *words]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert ("Training does not fit: 57.5 GiB, and one rtx-4090-24gb has 24.0 GiB; at least 3 of them hold it" in shown) == told
        assert ("Training does not fit" in shown) == told

    def test_a_small_network_has_samples_and_no_decode(self, answer: Any) -> None:
        # 7 -> 100 -> 100 -> 1: forward 2 · (700 + 10,000 + 100); backward twice that less the first layer's input gradient.
        body = answer("--model", "mlp")
        assert body["forward_flop"] == 21_600
        assert body["train_step_flop"] == 3 * 21_600 - 1_400
        assert "decode_flop" not in body

    def test_without_hardware_there_is_no_bound_and_the_reader_is_told(self, answer: Any) -> None:
        body = answer("--model", "gpt2")
        assert "forward_time_bound_s" not in body
        assert any("name a device with --hardware" in note for note in body["notes"])


class TestRules:
    def test_each_has_its_ratio_and_citation(self, answer: Any) -> None:
        rules = {row["rule"]: row for row in answer(*GPT3)["rules"]["rows"]}
        # 3.142877e23 / 3.229120e23, and 6·N + 12·L·H·Q·T: 3.229850e23.
        assert rules["6·N·D, all parameters"]["ratio"] == pytest.approx(0.97329, abs=1e-5)
        assert rules["PaLM"]["ratio"] == pytest.approx(1.00023, abs=1e-5)
        assert rules["Megatron with recomputation"]["ratio"] == 1
        assert "2204.02311" in rules["PaLM"]["source"]

    @pytest.mark.parametrize("model", ["gpt-3", "phi-2", "llama-3-70b", "mistral-7b"])
    def test_the_named_differences_add_up(self, model: str, answer: Any) -> None:
        body = answer("--model", model, "--tokens", "2048000")
        for rule in body["rules"]["rows"]:
            parts = [row["difference_flop"] for row in body["differences"]["rows"] if row["rule"] == rule["rule"]]
            # Each figure is rounded down from whole steps, so sums may miss by a FLOP per part.
            assert abs(sum(parts) - (rule["flop"] - rule["exact_flop"])) <= len(parts) + 1


class TestFormats:
    @pytest.mark.parametrize("style", ["text", "md", "csv", "json", "html", "latex"])
    def test_each_prints_the_days(self, style: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["estimate", *GPT3_ON_A100, "--utilization", "0.45", "--format", style]) == 0
        out = capsys.readouterr().out
        assert ("25.9958" if style in ("csv", "json") else "26.0 days") in out
        assert out.endswith("\n")

    def test_csv_is_one_table_that_a_reader_can_split(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["estimate", *GPT3_ON_A100, "--utilization", "0.45", "--format", "csv"])
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert {row["table"] for row in rows} == {"training", "flop", "rules", "differences"}
        (training,) = [row for row in rows if row["table"] == "training"]
        assert math.isclose(float(training["gpu_days"]), 26619.71327635328)

    def test_json_integers_are_exact(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["estimate", *GPT3, "--format", "json"])
        assert '"training_flop": 322912029081600000000000,' in capsys.readouterr().out

    def test_a_text_table_fits_120_columns_where_no_word_is_longer(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["estimate", *PHI2_CLAIM, "--explain"])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 120
