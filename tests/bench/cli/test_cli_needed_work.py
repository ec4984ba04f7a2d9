"""What transformers runs and no result needs is printed, and is no part of an answer: the unchosen experts of Llama 4."""

from __future__ import annotations

import json

import pytest

from bench.cli.main import main

SCOUT = ["--model", "llama-4-scout"]
META = ["--tokens", "40T", "--seq-len", "8192", "--hardware", "h100-sxm5-80gb"]
BOTH = "transformers runs all of them on every token"


def scout_flop(seq_len: int, tokens: int, experts: int = 2) -> int:
    """Llama 4 Scout trained, by hand: 48 layers of D 5,120, 40 heads of 128, 8 of keys, experts of 8,192; 202,048 words.

    Query and output, key and value, three matrices of each expert, the router, scores and context; the head. Each 2 FLOP per
    weight and token, three times.
    """
    attention = 2 * (2 * 5120 * 5120 + 2 * 5120 * 1024) + 4 * 5120 * seq_len
    layer = attention + 3 * 2 * 5120 * 8192 * experts + 2 * 5120 * 16
    return 3 * (48 * layer + 2 * 5120 * 202_048) * tokens


def answer(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, object]:
    assert main([*words, "--format", "json"]) == code
    body: dict[str, object] = json.loads(capsys.readouterr().out)
    return body


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_training_step_of_llama_4_counts_one_routed_and_one_shared_expert(capsys: pytest.CaptureFixture[str]) -> None:
    """maxtext#1670: 4 sequences of 256. transformers runs 16 routed experts and the shared one."""
    words = ["show", *SCOUT, "--phase", "train", "--batch", "4", "--seq-len", "256"]
    assert answer(words, capsys)["training_flop"] == scout_flop(256, 1024) == pytest.approx(99.92e12, rel=1e-4)
    assert f"{BOTH}: on 4 x 256 tokens 656.6 TFLOP forward and backward, where 99.92 TFLOP are needed" in said(words, capsys)
    assert scout_flop(256, 1024, experts=17) == pytest.approx(656.55e12, rel=1e-5)


@pytest.mark.parametrize("phase", ["forward", "prefill", "decode"])
def test_every_phase_has_both_counts(phase: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert BOTH in said(["show", *SCOUT, "--phase", phase, "--seq-len", "256"], capsys)


def test_metas_training_is_sized_by_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """4.84e24 FLOP and 3.40 M GPU-hours at 40 % (Meta's card: 5.0 M)."""
    body = answer(["estimate", *SCOUT, *META, "--gpus", "32768", "--utilization", "0.4"], capsys)
    assert body["training_flop"] == scout_flop(8192, 40 * 10**12) == pytest.approx(4.84e24, rel=1e-3)
    (row,) = body["rows"]  # type: ignore[misc]
    assert row["gpu_hours"] == pytest.approx(scout_flop(8192, 40 * 10**12) / (0.4 * 989.4e12 * 3600), rel=1e-3)  # the peak, 4 digits


def test_metas_own_claim_is_possible(capsys: pytest.CaptureFixture[str]) -> None:
    """5.0 M H100-hours: 27 % of peak counted full, where every expert on every token would be 149 %."""
    body = answer(["estimate", *SCOUT, *META, "--gpus", "10000", "--days", "500h"], capsys)
    shares = {row["convention"]: row["utilization_fraction"] for row in body["rows"]}  # type: ignore[attr-defined]
    assert shares["full"] == pytest.approx(scout_flop(8192, 40 * 10**12) / (5.0e6 * 3600 * 989.4e12), rel=1e-3)


TRAINING = ["--tokens", "1T", "--seq-len", "8192", "--hardware", "h100-sxm5-80gb"]


@pytest.mark.parametrize(
    "words",
    [
        ["estimate", *SCOUT, *TRAINING, "--gpus", "512"],
        ["estimate", *SCOUT, *TRAINING, "--gpus", "512", "--utilization", "0.4"],
        ["estimate", *SCOUT, "--prompt-tokens", "512", "--new-tokens", "2"],
        ["plan", *SCOUT, *TRAINING, "--gpus", "512"],
        ["compare-hardware", *SCOUT, "--tokens", "1T", "--seq-len", "8192", "--hardware", "h100-sxm5-80gb,h200-sxm-141gb", "--gpus", "512"],
        [
            *("compare-hardware", *SCOUT, "--tokens", "1T", "--seq-len", "8192", "--hardware", "h100-sxm5-80gb,h200-sxm-141gb"),
            *("--gpus", "512", "--utilization", "0.4"),
        ],
        ["translate", *SCOUT, "--seq-len", "8192", "--mfu", "0.4", "--from", "megatron", "--to", "maxtext"],
        ["check-claim", *SCOUT, *TRAINING, "--gpus", "512", "--days", "40"],
    ],
)
def test_every_verb_says_that_transformers_runs_more(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert BOTH in said(words, capsys)


def test_nothing_is_said_where_transformers_runs_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "are needed" not in said(["show", "--model", "mixtral-8x7b", "--phase", "train", "--seq-len", "256"], capsys)
