"""Shares of peak of models with windows: what no query sees is in none of them, and no answer is refused by its own options."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sixnd
from bench.cli.main import main
from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.training import on_devices

H100, H100_FLOP_PER_S = "h100-sxm5-80gb", 989.4e12
WINDOWED = ["mistral-7b", "gemma-2-9b", "gemma-3-1b", "gemma-3-4b", "gemma-3-27b", "gpt-oss-20b", "command-r7b", "phi-3-mini"]
WINDOWED += ["olmo-3-7b", "exaone-4.0-32b", "starcoder2-7b", "gpt-neo-1.3b"]


def said(capsys: pytest.CaptureFixture[str], words: str) -> str:
    """What a command prints that succeeds, on one line."""
    assert main(words.split()) == 0
    return " ".join(capsys.readouterr().out.split())


def body(capsys: pytest.CaptureFixture[str], words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(capsys, f"{words} --format json"))
    return found


def test_mistral_on_eight_gpus_takes_twelve_days_at_56_percent(capsys: pytest.CaptureFixture[str]) -> None:
    words = f"--model mistral-7b --tokens 100B --hardware {H100} --gpus 8 --seq-len 32768"
    found = body(capsys, f"estimate {words}")
    planned = body(capsys, f"plan {words}")
    assert found["wall_days"] == pytest.approx(12.8, rel=0.15)  # as far as the model of a step moves
    assert found["wall_days"] * 86_400 == pytest.approx(planned["run_s"])
    # Matrices and head 7.11e9, 12·32·4,096 for each key that a query sees: 4,096 at most.
    per_token = 6 * 7.110e9 + 12 * 32 * 4096 * (4096 - 4096**2 / 2 / 32_768)
    assert found["training_flop"] == pytest.approx(per_token * 1e11, rel=1e-3)
    share = per_token * found["tokens_per_s_per_device"] / H100_FLOP_PER_S
    assert found["utilization_fraction"] == pytest.approx(share, rel=1e-3) == pytest.approx(0.56, rel=0.15)
    assert found["utilization_fraction"] == pytest.approx(found["mfu_fraction"], rel=1e-12)
    assert found["mfu_fraction"] == found["mfu_causal_fraction"] == planned["mfu_fraction"]
    assert found["mfu_full_fraction"] is None  # the square would be above the peak
    assert (found["convention"], found["mfu_convention"], planned["mfu_convention"]) == ("causal",) * 3


@pytest.mark.parametrize(
    ("model", "gpus"),
    [("gemma-3-1b", 8), ("gemma-3-1b", 64), ("gemma-3-4b", 8), ("gemma-3-4b", 64), ("gemma-3-4b", 512), ("gemma-3-27b", 64)],
)
def test_a_first_command_on_gemma_is_answered(model: str, gpus: int, capsys: pytest.CaptureFixture[str]) -> None:
    length = 32_768 if model == "gemma-3-1b" else 131_072
    found = body(capsys, f"estimate --model {model} --tokens 100B --hardware {H100} --gpus {gpus} --seq-len {length}")
    assert 0.1 < found["utilization_fraction"] < 0.6
    assert found["gpu_days"] == pytest.approx(found["wall_days"] * gpus)


def test_a_plan_prints_what_is_seen_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, f"plan --model gemma-3-4b --tokens 100B --hardware {H100} --gpus 64 --seq-len 131072")
    assert "MFU (causal)" in text
    rows = body(capsys, f"plan --model gemma-3-4b --tokens 100B --hardware {H100} --gpus 64 --seq-len 131072")["rows"]
    assert rows[0]["mfu_fraction"] == pytest.approx(0.46, rel=0.15)
    assert max(row["mfu_fraction"] for row in rows) < 0.6


def test_gpt_oss_has_one_causal_count_and_no_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    words = f"estimate --model gpt-oss-20b --tokens 100B --hardware {H100} --gpus 64 --seq-len 131072"
    found = body(capsys, words)
    assert found["utilization_fraction"] == pytest.approx(found["mfu_causal_fraction"], rel=1e-12)
    assert not any(note.startswith("Doubt it") for note in found["notes"])
    # 21.6 in matrices, 38.7 in attention up to the window, 0.1 in routers: GFLOP a token.
    per_token = found["training_flop_by_convention"]["causal"] / 1e11
    assert per_token == pytest.approx(60.4e9, rel=1e-3)
    assert per_token * 4836 / H100_FLOP_PER_S == pytest.approx(0.295, abs=0.0005)  # at the throughput of the reading
    assert found["mfu_causal_fraction"] == pytest.approx(per_token * found["tokens_per_s_per_device"] / H100_FLOP_PER_S, rel=1e-9)
    (row,) = [row for row in found["flop"]["rows"] if row["convention"] == "causal"]
    assert row["token_flop"] == pytest.approx(per_token, rel=1e-12)
    assert f"MFU (causal) {100 * found['mfu_causal_fraction']:.1f} %, HFU" in said(capsys, f"{words} -v")


def test_a_dense_model_is_counted_as_published_shares_are(capsys: pytest.CaptureFixture[str]) -> None:
    found = body(capsys, f"estimate --model llama-3-8b --tokens 1T --hardware {H100} --gpus 64 --seq-len 8192")
    assert (found["convention"], found["mfu_convention"]) == ("full", "full")
    assert found["utilization_fraction"] == pytest.approx(found["mfu_full_fraction"], rel=1e-12)
    again = body(capsys, f"estimate --model llama-3-8b --tokens 1T --hardware {H100} --seq-len 8192 --utilization {found['mfu_fraction']}")
    assert again["gpu_days"] == pytest.approx(found["gpu_days"])
    # By hand: products of 32 layers and the head, and 12·32·4,096·T for the square, half of it.
    matrices = 6 * (32 * (2 * 4096 * (4096 + 1024) + 3 * 4096 * 14_336) + 128_256 * 4096)
    flop = body(capsys, "show --model llama-3-8b --phase train --seq-len 8192 --convention causal")["rows"][-1]["flop"]
    assert flop == 8192 * (matrices + 6 * 32 * 4096 * 8192)


@pytest.mark.parametrize("model", ["llama-3-8b", "qwen3-8b", "codellama-34b"])
def test_long_sequences_of_a_dense_model_are_counted_by_what_is_seen(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = body(capsys, f"estimate --model {model} --tokens 1T --hardware {H100} --seq-len 131072")
    assert found["convention"] == "causal"
    assert found["utilization_fraction"] < 0.45
    assert not any(note.startswith("Doubt it") for note in found["notes"])


def test_a_given_utilization_multiplies_the_whole_square_unless_another_convention_is_asked_for() -> None:
    asked: dict[str, Any] = {"model": "mistral-7b", "tokens": "100B", "hardware": H100, "gpus": 8, "seq_len": 32_768, "utilization": 0.5}
    full, causal = sixnd.estimate(**asked), sixnd.estimate(**asked, convention="causal")
    assert (full.convention, causal.convention) == ("full", "causal")
    assert full.wall_days / causal.wall_days == pytest.approx(full.training_flop / causal.training_flop)
    gpt_3 = sixnd.estimate(model="gpt-3", tokens="300B", hardware="a100-sxm4-80gb", gpus=1024, utilization=0.45)
    assert (f"{gpt_3.training_flop:.3e}", round(gpt_3.gpu_days), round(gpt_3.wall_days, 1)) == ("3.229e+23", 26_620, 26.0)


def test_the_predicted_share_given_back_with_its_convention_is_the_same_training() -> None:
    asked: dict[str, Any] = {"model": "gemma-3-4b", "tokens": "100B", "hardware": H100, "gpus": 64, "seq_len": 32_768}
    found = sixnd.estimate(**asked)
    assert "--utilization with --convention causal sets your own" in found.utilization_source
    again = sixnd.estimate(**asked, utilization=found.utilization_fraction, convention=found.convention)
    assert again.gpu_days == pytest.approx(found.gpu_days)


@pytest.mark.parametrize(
    "more", [{}, {"days": "12.8d"}, {"deadline": "30d"}, {"budget_usd": 10**5}, {"budget_gpu_days": 1000}, {"explain": True}], ids=str
)
def test_the_square_can_be_asked_for_by_its_name(more: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"model": "mistral-7b", "tokens": "100B", "hardware": H100, "gpus": 8, "seq_len": 32_768}
    square, usual = sixnd.estimate(**asked, **more, convention="full"), sixnd.estimate(**asked, **more)
    assert square.convention == "full"
    assert square.utilization_fraction > 1 > usual.utilization_fraction
    assert "No kernel runs all that is counted full, so that the share passes the peak." in square.utilization_source
    assert (square.gpu_days, square.budget_tokens) == (usual.gpu_days, pytest.approx(usual.budget_tokens))
    assert "FLOP counted full" in " ".join(square.text(verbose=True).split())


def test_the_bound_of_an_encoder_is_taken_of_what_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """ModernBERT's step is not predicted; two layers of three see 129 tokens of 8,192."""
    words = "estimate --model modernbert-base --tokens 100B --hardware h100-sxm5-80gb --gpus 8 --seq-len 8192"
    assumed, given = body(capsys, words), body(capsys, f"{words} --utilization 0.4")
    assert (assumed["utilization_fraction"], given["utilization_fraction"]) == (1, 0.4)
    assert (assumed["convention"], given["convention"]) == ("causal", "full")
    assert assumed["training_flop"] == given["training_flop_by_convention"]["causal"]


@pytest.mark.parametrize("days", [12.8, 9.0])
def test_a_claim_that_windows_make_possible_is_possible(days: float) -> None:
    asked: dict[str, Any] = {"model": "mistral-7b", "tokens": "100B", "hardware": H100, "gpus": 8, "seq_len": 32_768, "days": days}
    for found in (sixnd.estimate(**asked), sixnd.check_claim(**asked)):
        assert found.verdict != "impossible"
        assert found.implied_utilization_fraction_by_convention["full"] > 1
        assert found.least_fraction < 0.8


@pytest.mark.parametrize("model", WINDOWED)
def test_verbs_agree_on_the_share_of_peak(model: str) -> None:
    asked: dict[str, Any] = {"model": model, "tokens": "100B", "hardware": H100}
    found = sixnd.estimate(**asked)
    planned = sixnd.plan(**asked, gpus=found.num_devices)
    (compared,) = sixnd.compare_hardware(**asked, gpus=found.num_devices).tables()[0].rows
    estimated = sixnd.estimate(**asked, gpus=found.num_devices)
    assert estimated.mfu_fraction == planned.mfu_fraction == compared["mfu_fraction"]
    assert estimated.mfu_convention == planned.mfu_convention == compared["mfu_convention"]
    assert estimated.utilization_fraction == pytest.approx(planned.mfu_fraction)
    for answer in (found, estimated):
        shares = [answer.utilization_fraction, answer.mfu_fraction, answer.mfu_causal_fraction, answer.hfu_fraction]
        assert all(0 < share <= 1 for share in [*shares, answer.mfu_full_fraction or 1])


class TestComparison:
    def test_windows_are_compared_by_what_is_seen(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = f"compare-hardware --model gemma-3-27b --tokens 100B --hardware {H100},h200-sxm-141gb --gpus 64 --seq-len 131072"
        rows = body(capsys, words)["rows"]
        assert [row["mfu_convention"] for row in rows] == ["causal"] * 2
        assert all(row["mfu_fraction"] < 0.6 for row in rows)
        assert "FLOP counted causal" in said(capsys, f"{words} -v")

    @pytest.mark.parametrize("utilization", [None, "0.4"])
    def test_a_refusal_on_one_device_is_a_row_with_its_reason(self, utilization: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "predict" if utilization is None else "training_answer"
        answered = getattr(on_devices, name)

        def refusing(question: Any) -> Any:
            if question.hardware == hardware("a100-sxm4-80gb"):
                raise BadValueError("utilization 1.06839 is out of range")
            return answered(question)

        monkeypatch.setattr(on_devices, name, refusing)
        asked: dict[str, Any] = {"model": "llama-3-8b", "tokens": "1T", "gpus": 64, "utilization": utilization}
        rows = sixnd.compare_hardware(**asked, hardware=f"a100-sxm4-80gb,{H100}").tables()[0].rows
        assert [row["hardware"] for row in rows] == [H100, "a100-sxm4-80gb"]
        assert [row["reason"] for row in rows] == [None, "utilization 1.06839 is out of range"]
        with pytest.raises(BadValueError, match="out of range"):
            sixnd.compare_hardware(**asked, hardware="a100-sxm4-80gb")
