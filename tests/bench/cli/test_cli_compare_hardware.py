"""`compare-hardware`: every device gets its row, least GPU-days first, refusals with their reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from bench.cli.main import main

GPT3 = ["--model", "gpt-3", "--tokens", "300B"]
DEVICES = "a100-sxm4-80gb,h100-sxm5-80gb,h200-sxm-141gb"


@pytest.fixture
def compared(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> Any:
        assert main(["compare-hardware", *words, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_gpu_days_are_in_the_ratio_of_the_peaks(compared: Any) -> None:
    # NVIDIA's datasheets: dense bf16 312 TFLOP/s for the A100; 989.4 for H100 SXM and H200, which differ in memory alone.
    rows = {row["hardware"]: row for row in compared(*GPT3, "--hardware", DEVICES, "--utilization", "0.4")["rows"]}
    assert rows["a100-sxm4-80gb"]["gpu_days"] / rows["h100-sxm5-80gb"]["gpu_days"] == pytest.approx(989.4 / 312, rel=1e-3)
    assert rows["h100-sxm5-80gb"]["gpu_days"] == rows["h200-sxm-141gb"]["gpu_days"]


def test_each_row_says_what_estimate_says(compared: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for row in compared(*GPT3, "--hardware", DEVICES, "--utilization", "0.4", "--gpus", "512")["rows"]:
        main(["estimate", *GPT3, "--hardware", row["hardware"], "--utilization", "0.4", "--gpus", "512", "--format", "json"])
        alone = json.loads(capsys.readouterr().out)
        for key in ("wall_days", "gpu_days", "gpu_hours", "energy_j", "cost_usd_low", "cost_usd_median", "cost_usd_high"):
            assert row[key] == alone[key], key


def test_least_gpu_days_come_first_and_repeated_names_once(compared: Any) -> None:
    rows = compared(*GPT3, "--hardware", f"{DEVICES}, a100-sxm4-80gb,l4-24gb", "--utilization", "0.4")["rows"]
    days = [row["gpu_days"] for row in rows]
    assert len(rows) == 4
    assert days == sorted(days)


def test_a_device_without_a_peak_for_the_dtype_is_listed_last_with_the_reason(compared: Any) -> None:
    rows = compared(*GPT3, "--hardware", f"v100-sxm2-32gb,{DEVICES}", "--utilization", "0.4")["rows"]
    assert rows[-1]["hardware"] == "v100-sxm2-32gb"
    assert rows[-1]["gpu_days"] is None
    assert rows[-1]["reason"] == "no dense bf16 peak; it has fp64, fp32, fp16"


def test_another_dtype_gives_it_an_answer(compared: Any) -> None:
    # Tesla V100 SXM2 datasheet: 125 TFLOP/s fp16 with fp32 accumulate.
    (row,) = compared(*GPT3, "--hardware", "v100-sxm2-32gb", "--utilization", "0.4", "--dtype", "fp16")["rows"]
    assert row["peak_flop_per_s"] == 125e12
    assert "reason" not in row


def test_devices_to_train_hold_the_training_state(compared: Any) -> None:
    # 18 bytes per parameter; driver-visible 79.2 GiB for the 80-GB cards.
    for row in compared(*GPT3, "--hardware", DEVICES, "--utilization", "0.4")["holding"]["rows"]:
        assert row["num_devices_training_state"] == math.ceil(18 * 174_604_259_328 / row["memory_bytes"])


def test_the_decode_bound_is_bytes_over_bandwidth_of_the_devices_that_hold_them(compared: Any) -> None:
    # Phi-2 in bf16 after 2,047 tokens on one A100-80GB: 5,968,317,440 bytes at 2,039 GB/s.
    (row,) = compared("--model", "phi-2", "--tokens", "1T", "--hardware", "a100-sxm4-80gb", "--utilization", "0.4")["holding"]["rows"]
    looked_up = 51_200 * 2_560
    moved = 2 * (2_779_683_840 - looked_up + 2_560) + 2_048 * 2 * 32 * 2_560 * 2
    assert row["num_devices_inference"] == 1
    assert row["decode_bound_s"] == pytest.approx(moved / 2039e9)
    assert row["decode_bound_by"] == "bandwidth"


def test_where_no_step_is_predicted_each_architecture_has_its_own_median(compared: Any) -> None:
    body = compared("--model", "t5-3b", "--tokens", "300B", "--hardware", DEVICES)
    shares = {row["hardware"]: row["utilization_fraction"] for row in body["rows"]}
    assert shares["h100-sxm5-80gb"] == shares["h200-sxm-141gb"] != shares["a100-sxm4-80gb"]
    assert any("median of the published runs" in line for line in body["conditions"])


def test_a_network_without_sequences_is_compared_too(compared: Any) -> None:
    body = compared("--model", "mlp", "--tokens", "1M", "--hardware", DEVICES, "--utilization", "0.4")
    assert "1,000,000 samples" in " ".join(body["conditions"])
    assert "holding" not in body


@pytest.mark.parametrize("name", ["bert-base-uncased", "siglip-base-patch16-224", "wav2vec2-base-960h"])
def test_a_model_that_does_not_generate_is_compared_without_bounds_of_generating(compared: Any, name: str) -> None:
    body = compared("--model", name, "--tokens", "10M", "--hardware", DEVICES, "--utilization", "0.4")
    days = {row["hardware"]: row["gpu_days"] for row in body["rows"]}
    assert days["h100-sxm5-80gb"] < days["a100-sxm4-80gb"]
    assert "holding" not in body
