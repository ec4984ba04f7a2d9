"""`estimate` and `compare-hardware` where no utilisation is given: the step is predicted, and every figure follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records import calibration_file
from tests.support.calibrations import of_an_h100, whole
from tests.support.error_lines import complaint

LLAMA = ["--model", "llama-2-7b", "--tokens", "2T"]
ON_512 = [*LLAMA, "--hardware", "a100-sxm4-80gb", "--gpus", "512"]
LAYOUT = ["--layout", "tp=2,pp=1,zero=3,micro_batch=2", "--global-batch", "4M", "--seq-len", "4096"]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(verb: str, *words: str) -> Any:
        assert main([verb, *words, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


class TestEstimate:
    def test_the_names_of_an_assumed_utilization_are_all_there(self, said: Any) -> None:
        assumed = said("estimate", *ON_512, "--utilization", "0.45")
        predicted = said("estimate", *ON_512)
        assert assumed.keys() - predicted.keys() == set()
        for key in ("params", "training_flop", "training_flop_by_convention", "tokens", "seq_len", "peak_flop_per_s", "num_devices"):
            assert predicted[key] == assumed[key], key

    def test_days_are_steps_times_the_ledger_that_sums_to_the_step(self, said: Any) -> None:
        body = said("estimate", *ON_512, *LAYOUT)
        assert body["global_batch_tokens"] == 1024 * 4096
        assert sum(body["ledger"].values()) == pytest.approx(body["step_time_s"])
        assert body["wall_days"] == body["days"] == pytest.approx(2e12 / (1024 * 4096) * body["step_time_s"] / 86_400)
        assert body["gpu_days"] == pytest.approx(512 * body["days"])
        assert body["gpu_hours"] == pytest.approx(24 * body["gpu_days"])
        assert body["days_low"] < body["days"] < body["days_high"]
        assert body["tokens_per_s_per_device"] == pytest.approx(1024 * 4096 / body["step_time_s"] / 512)
        assert sum(row["fraction"] for row in body["step"]["rows"]) == pytest.approx(1)

    def test_the_shares_of_peak_are_flop_over_what_the_peak_would_do(self, said: Any) -> None:
        body = said("estimate", *ON_512, *LAYOUT)
        device_s = body["gpu_hours"] * 3_600
        for name, convention in (("mfu_full_fraction", "full"), ("mfu_causal_fraction", "causal")):
            # The convention halves the square, a kernel's mask leaves the diagonal in: one pair of 4,096 in 14 % of the work.
            counted = body["training_flop_by_convention"][convention] / (device_s * 312e12)
            assert body[name] == pytest.approx(counted, rel=1e-4 if convention == "causal" else 1e-9), name
        assert body["utilization_fraction"] == pytest.approx(body["mfu_full_fraction"])
        assert body["hfu_fraction"] == pytest.approx(body["mfu_full_fraction"]), "nothing is recomputed"

    def test_that_utilization_given_back_makes_the_same_days(self, said: Any) -> None:
        body = said("estimate", *ON_512, *LAYOUT)
        again = said("estimate", *ON_512, "--utilization", str(body["utilization_fraction"]))
        for key in ("wall_days", "gpu_days", "gpu_hours", "cost_usd_median"):
            assert again[key] == pytest.approx(body[key]), key

    def test_recomputation_shows_in_hfu_alone(self, said: Any) -> None:
        body = said("estimate", *ON_512, "--layout", "zero=3,recompute=full")
        assert body["hfu_fraction"] == pytest.approx(body["mfu_full_fraction"] * 4 / 3)

    def test_energy_co2_and_money_follow_by_hand(self, said: Any) -> None:
        # 400 W at 76 % (Newkirk et al. 2025); 100 g per kWh; $2 an hour.
        body = said("estimate", *ON_512, "--price", "2", "--carbon", "100")
        kwh = body["gpu_hours"] * 0.4 * 0.76
        assert body["energy_j"] == pytest.approx(kwh * 3.6e6)
        assert body["energy_limit_j"] == pytest.approx(body["gpu_hours"] * 0.4 * 3.6e6)
        assert body["co2_kg"] == pytest.approx(kwh * 0.1)
        assert body["cost_usd_low"] == body["cost_usd_high"] == pytest.approx(2 * body["gpu_hours"])

    def test_without_a_carbon_figure_the_worlds_is_taken_and_named(self, said: Any) -> None:
        body = said("estimate", *ON_512)
        assert body["co2_kg"] == pytest.approx(body["energy_j"] / 3.6e6 * 0.473)  # Ember: 473 g in 2024
        assert any("473 g CO2 per kWh, Ember" in note for note in body["notes"])
        assert said("estimate", *ON_512, "--carbon", "0")["co2_kg"] == 0

    def test_what_whole_runs_add_stands_apart(self, said: Any) -> None:
        body = said("estimate", *ON_512)
        rows = {row["run"]: row for row in body["allowance"]["rows"]}
        assert rows["Gemini Ultra"]["wall_days"] == pytest.approx(body["days"] / 0.97)
        assert body["allowance_median_fraction"] == pytest.approx(1 / 0.9 - 1)  # Llama 3 405B, arXiv 2407.21783, section 3.3.4

    def test_the_layout_batch_and_software_are_said(self, said: Any) -> None:
        body = said("estimate", *ON_512)
        conditions = " ".join(body["conditions"])
        assert f"layout {body['layout']} (chosen: the fastest found that fits" in conditions
        assert "as GPT-3 6.7B was trained: 2,000,000 tokens (Brown et al. 2020 (arXiv 2005.14165), table 2.1)" in conditions
        assert "zero=2" in body["layout"]
        assert "software pytorch-fsdp2:" in conditions, "what shares out gradients or weights is PyTorch's FSDP"
        split = " ".join(said("estimate", *ON_512, "--layout", "tp=2,pp=1,zero=1,micro_batch=1")["conditions"])
        assert "software megatron-core:" in split
        assert "chosen" not in " ".join(said("estimate", *ON_512, *LAYOUT)["conditions"])

    @pytest.mark.parametrize(
        "words",
        [["--network", "12GB/s"], ["--software", "transformers"], ["--optimizer", "sgd"], ["--layout", "tp=4"], ["--global-batch", "8M"]],
    )
    def test_every_option_moves_the_step_or_its_days(self, words: list[str], said: Any) -> None:
        assert said("estimate", *ON_512, *words)["wall_days"] != said("estimate", *ON_512)["wall_days"]

    def test_a_faster_network_is_never_slower(self, said: Any) -> None:
        days = [said("estimate", *ON_512, "--network", rate)["days"] for rate in ("5GB/s", "200Gb/s", "25GB/s", "1TB/s")]
        assert days == sorted(days, reverse=True)
        assert days[1] == days[2], "200 Gb/s are 25 GB/s"

    def test_a_claim_is_judged_by_the_prediction(self, said: Any) -> None:
        phi = ["--model", "phi-2", "--tokens", "1.4T", "--hardware", "a100-sxm4-80gb", "--gpus", "96", "--layout", "zero=1,micro_batch=8"]
        body = said("estimate", *phi, "--software", "pytorch-2023", "--global-batch", "1.57M", "--days", "14")
        assert body["claimed_gpu_days"] == 96 * 14
        assert any("claimed 14.0 days" in note and "it disagrees" in note for note in body["training"]["notes"])

    def test_a_share_above_every_published_run_is_doubted_and_one_below_is_not(self, said: Any) -> None:
        fast, slow = (said("estimate", *ON_512, "--layout", layout, "--global-batch", "16M") for layout in ("micro_batch=4", "tp=8"))
        assert fast["mfu_full_fraction"] > 0.574 > slow["mfu_full_fraction"]  # llm.c's GPT-2 774M in published_runs.csv
        assert any(note.startswith("Doubt it: ") and "57.4 %" in note for note in fast["notes"])
        assert not any(note.startswith("Doubt it: ") for note in slow["notes"])

    def test_a_layout_that_does_not_fit_is_predicted_and_said(self, said: Any) -> None:
        body = said("estimate", "--model", "gpt-3", "--tokens", "300B", "--hardware", "a100-sxm4-80gb", "--gpus", "64", "--layout", "tp=8")
        assert body["fits"] is False
        assert any(note.startswith("memory: this layout does not fit") for note in body["notes"])

    def test_a_model_without_a_predicted_step_keeps_the_range_and_says_why(self, said: Any) -> None:
        body = said("estimate", "--model", "t5-small", "--tokens", "1B", "--hardware", "a100-sxm4-80gb", "--gpus", "8")
        assert [row["scenario"] for row in body["rows"]] == ["low", "median", "high"]
        assert "No step is predicted: t5-small is not a decoder with a head" in body["utilization_source"]

    def test_scans_that_no_measured_step_has_are_said(self, said: Any) -> None:
        body = said("estimate", "--model", "mamba-130m", "--tokens", "1B", "--hardware", "a100-sxm4-80gb", "--gpus", "8")
        assert any("scans of 24 layers are priced as fused attention" in line for line in body["conditions"])

    def test_the_explanation_works_out_to_the_answer(self, said: Any) -> None:
        body = said("estimate", *ON_512, "--explain")
        rows = body["explanation"]["rows"]
        is_now = {row["figure"]: row["value"] for row in rows if row["part"] == "is"}
        for figure, key in (("step time", "step_time_s"), ("GPU-days", "gpu_days"), ("energy", "energy_j"), ("CO2", "co2_kg")):
            assert is_now[figure] == pytest.approx(body[key], rel=1e-12), figure
            printed = next(row["text"] for row in rows if row["figure"] == figure and "print(" in (row["text"] or ""))
            assert eval(printed.split("print(")[1][:-2]) == pytest.approx(body[key]), figure

    def test_more_tokens_than_one_step_takes_are_not_there(self, said: Any) -> None:
        asked = ("estimate", "--model", "gpt2", "--tokens", "100k", "--hardware", "a100-sxm4-80gb", "--gpus", "8")
        notes = said(*asked, "--global-batch", "1M")["notes"]
        assert any("A single step takes more tokens than the whole training has" in note for note in notes)


class TestCompare:
    def test_each_row_is_what_estimate_says(self, said: Any) -> None:
        body = said("compare-hardware", *LLAMA, "--hardware", "a100-sxm4-80gb,h100-sxm5-80gb", "--gpus", "64")
        for row in body["rows"]:
            alone = said("estimate", *LLAMA, "--hardware", row["hardware"], "--gpus", "64")
            for key in (
                "layout",
                "step_time_s",
                "tokens_per_s_per_device",
                "mfu_full_fraction",
                "wall_days",
                "days_low",
                "energy_j",
                "fits",
            ):
                assert row[key] == alone[key], key

    def test_fastest_first_and_those_without_an_answer_last_with_the_reason(self, said: Any) -> None:
        devices = "l4-24gb,a100-sxm4-80gb,v100-sxm2-32gb,h100-sxm5-80gb"
        rows = said("compare-hardware", "--model", "gpt-3", "--tokens", "1T", "--hardware", devices, "--gpus", "64")["rows"]
        assert [row["hardware"] for row in rows[:2]] == ["h100-sxm5-80gb", "a100-sxm4-80gb"]
        assert rows[0]["wall_days"] < rows[1]["wall_days"]
        reasons = {row["hardware"]: row["reason"] for row in rows[2:]}
        assert "no published dense peak for bf16" in reasons["v100-sxm2-32gb"]
        assert "fits on 64 x l4-24gb in no layout" in reasons["l4-24gb"]

    def test_a_layout_that_does_not_fit_comes_after_those_that_do(self, said: Any) -> None:
        rows = said(
            "compare-hardware", *LLAMA, "--hardware", "h100-sxm5-80gb,b200-sxm-180gb,a100-sxm4-80gb", "--gpus", "64", "--layout", "zero=0"
        )["rows"]
        assert [row["fits"] for row in rows] == [True, False, False]

    def test_all_are_those_with_a_measured_ceiling(self, said: Any) -> None:
        rows = said("compare-hardware", *LLAMA, "--hardware", "all", "--gpus", "64")["rows"]
        assert len(rows) > 10
        assert {"a100-sxm4-80gb", "h100-sxm5-80gb"} <= {row["hardware"] for row in rows}
        assert not any("ceiling" in (row["assumed"] or "") for row in rows)

    def test_no_answer_anywhere_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = complaint(["compare-hardware", "--model", "gpt-3", "--tokens", "1T", "--hardware", "l4-24gb", "--gpus", "4"], capsys)
        assert "no answer on 1 kinds of device: gpt-3-175b at 2,048 tokens fits on 4 x l4-24gb in no layout" in line

    def test_the_explanation_has_a_ledger_per_device(self, said: Any) -> None:
        body = said("compare-hardware", *LLAMA, "--hardware", "a100-sxm4-80gb,h100-sxm5-80gb", "--gpus", "64", "--explain")
        rows = {row["hardware"]: row for row in body["rows"]}
        for device in rows:
            assert sum(row["time_s"] for row in body[f"step on {device}"]["rows"]) == pytest.approx(rows[device]["step_time_s"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--layout", "tp=3"], "does not multiply to 512 devices"),
        (["--layout", "dp=4"], "is 1 x 4 and does not multiply to 512 devices; the nearest number of devices that works: 4"),
        (["--layout", "tp=64"], "tp=64 does not divide 32 heads; the nearest that does: tp=32"),
        (["--layout", "pp=64"], "pp=64 asks for more stages than the 32 layers there are; the most: pp=32"),
        (["--layout", "speed=9"], "layout part 'speed=9' is unknown"),
        (["--layout", "tp=²"], "expected a whole number after tp="),
        (["--layout", "tp=" + "9" * 5000], "expected a whole number after tp="),
        (["--layout", "micro_batch=0"], "whole numbers from 1"),
        (["--layout", "zero=4"], "zero is 4; expected one of: 0, 1, 2, 3"),
        (["--layout", ""], "layout is empty"),
        (["--layout", "ep=2"], "ep=2 divides experts, but the model has none; expected ep=1"),
        (["--layout", "micro_batch=7", "--global-batch", "1M"], "no multiple of dp x micro_batch = 3,584; the nearest that works"),
        (["--global-batch", "0"], "global-batch '0' is out of range"),
        (["--global-batch", "5"], "a global batch of 5 tokens is less than one sequence of 4,096"),
        (["--layout", "zero=1", "--global-batch", "5seq"], "no multiple of dp x micro_batch = 512; the nearest that works"),
        (["--carbon", "-1"], "carbon '-1' is out of range; expected a number from 0 to 5000"),
        (["--carbon", "green"], "carbon 'green' is not a number"),
        (["--software", "megatron-cor"], "unknown software 'megatron-cor'; did you mean 'megatron-core'"),
        (["--optimizer", "adam"], "optimizer 'adam' is unknown; expected one of: adamw"),
        (["--network", "50"], "network '50' is not a bandwidth; expected"),
        (["--network=-5GB/s"], "is not a bandwidth"),
        (["--network", "0GB/s"], "network '0GB/s' is out of range"),
        (["--network", "1.2.3GB/s"], "is not a bandwidth"),
        (["--dtype", "fp8"], "a100-sxm4-80gb has no published dense peak for fp8"),
        (["--utilization", "0.4", "--layout", "tp=2"], "--layout describes a step that is predicted; leave --utilization out"),
        (["--deadline", "30d", "--utilization", "0.4", "--software", "transformers"], "--software describes a step that is predicted"),
        (["--deadline", "1h"], "60.0 min is less than physics allows on 16,384 x a100-sxm4-80gb"),
    ],
)
def test_a_wrong_step_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in complaint(["estimate", *ON_512, *words], capsys)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["estimate", *LLAMA, "--hardware", "a100-sxm4-80gb", "--layout", "tp=2"],
            "layout 'tp=2' is one of a number of devices; add --gpus",
        ),
        (["estimate", *LLAMA, "--carbon", "1"], "add --hardware"),
        (["estimate", "--model", "phi-2", "--network", "5GB/s"], "add --tokens, --hardware and --gpus"),
        (["compare-hardware", *LLAMA, "--hardware", "a100-sxm4-80gb", "--layout", "tp=2"], "add --gpus"),
        (
            ["estimate", "--model", "mlp", "--tokens", "1M", "--hardware", "a100-sxm4-80gb", "--gpus", "8", "--layout", "tp=2"],
            "mlp does not",
        ),
        (
            ["estimate", "--model", "gpt-3", "--tokens", "1T", "--hardware", "a100-sxm4-80gb", "--gpus", "8"],
            "fits on 8 x a100-sxm4-80gb in no layout",
        ),
    ],
)
def test_options_of_a_step_that_nobody_predicts_are_refused(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in complaint(argv, capsys)


class TestLists:
    def test_software_is_listed_with_its_facts(self, said: Any) -> None:
        rows = {row["software"]: row for row in said("list", "software")["rows"]}
        assert (rows["megatron-2021"]["attention"], rows["megatron-core"]["attention"]) == ("unfused", "fused")
        assert "arXiv 2104.04473" in rows["megatron-2021"]["note"]
        assert [row["software"] for row in said("list", "software", "--match", "QLORA")["rows"]] == ["transformers-qlora"]

    def test_measured_groups_say_how_many_rows_and_why_some_stand_apart(self, said: Any) -> None:
        rows = {row["group"]: row for row in said("list", "measured")["rows"]}
        # Narayanan et al. 2021, table 1: ten models, of which those whose layout multiplies are kept.
        table_1 = rows["Megatron-LM SC21 Table 1"]
        assert 0 < table_1["scored"] <= table_1["rows"] <= 10
        assert table_1["source"] == "megatron-2021"
        assert "no micro-batch in the row" in rows["llm.c"]["apart"]
        assert all(row["apart"] or row["scored"] == row["rows"] for row in rows.values())


class TestCalibration:
    """Rates that the user measured stand in for the shipped ones, on the device that they are of."""

    ON_H100 = (*LLAMA, "--hardware", "h100-sxm5-80gb", "--gpus", "512")

    @pytest.fixture
    def mine(self, tmp_path: Path) -> str:
        calibration_file.write(of_an_h100(), tmp_path / "mine.json")
        return str(tmp_path / "mine.json")

    @pytest.mark.parametrize("verb", ["estimate", "plan", "compare-hardware"])
    def test_a_device_that_multiplies_slower_takes_longer_and_the_file_is_named(self, said: Any, mine: str, verb: str) -> None:
        shipped, own = said(verb, *self.ON_H100), said(verb, *self.ON_H100, "--calibration", mine)
        assert "mine.json, measured 2026-01-01" in json.dumps(own)
        assert "mine.json" not in json.dumps(shipped)
        if verb == "estimate":
            assert own["step_time_s"] > shipped["step_time_s"]
            slower = own["ledger"]["matmul"] / shipped["ledger"]["matmul"]
            assert slower == pytest.approx(809.7 / 650), "products at 650 TFLOP/s for the 809.7 of ceilings.csv"

    def test_another_device_or_none_is_refused(self, mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "is of h100-sxm5-80gb; --hardware was a100-sxm4-80gb" in complaint(["estimate", *ON_512, "--calibration", mine], capsys)
        calibration_file.write(whole(), tmp_path / "cpu.json")
        said = complaint(["estimate", *ON_512, "--calibration", str(tmp_path / "cpu.json")], capsys)
        assert "'Some CPU @ 2 GHz', which is not a device of" in said
        assert "cannot read the calibration" in complaint(["plan", *ON_512, "--calibration", str(tmp_path / "none.json")], capsys)

    def test_a_step_that_is_not_predicted_takes_none(self, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
        said = complaint(["estimate", *self.ON_H100, "--utilization", "0.4", "--calibration", mine], capsys)
        assert "--calibration describes a step that is predicted" in said
