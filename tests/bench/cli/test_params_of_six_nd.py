"""N of 6·N·D: the parameters that a token uses, in every verb that says the name."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sixnd
from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.request import Request
from bench.records.run import Run
from bench.records.run_estimate import predict
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import hardware, model_entry

H100_FLOP_PER_S = 989.4e12
H800_RUN: dict[str, Any] = {"model": "deepseek-v3", "tokens": "14.8T", "seq_len": 4096, "hardware": "h800-sxm5-80gb", "gpus": 2048}

USED_PARAMS = {
    # Mixtral 8x7B, 32 layers of 4,096: 2 of 8 experts of 3 x 4,096 x 14,336; queries and outputs 4,096 wide, keys and values 1,024;
    # a router of 8; two norms a layer and one at the end; an embedding and a head of 32,000.
    "mixtral-8x7b": 32 * (2 * 3 * 4096 * 14_336 + 2 * 4096 * (4096 + 1024) + 8 * 4096 + 2 * 4096) + 4096 + 2 * 32_000 * 4096,
    # Qwen3 30B-A3B, 48 layers of 2,048: 8 of 128 experts of 3 x 2,048 x 768; 32 heads and 4 of keys, 128 wide; norms of queries and keys.
    "qwen3-30b-a3b": 48 * (8 * 3 * 2048 * 768 + 2 * 2048 * (4096 + 512) + 128 * 2048 + 2 * 2048 + 2 * 128) + 2048 + 2 * 151_936 * 2048,
    # OLMoE 1B-7B, 16 layers of 2,048: 8 of 64 experts of 3 x 2,048 x 1,024; 16 heads of 128; norms of 2,048 on queries and keys.
    "olmoe-1b-7b": 16 * (8 * 3 * 2048 * 1024 + 4 * 2048 * 2048 + 64 * 2048 + 4 * 2048) + 2048 + 2 * 50_304 * 2048,
    # Dense: every parameter is used.
    "llama-3-8b": 8_030_261_248,
}
"""By hand, from each model's configuration."""


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The json of a command that succeeds."""
    assert main([*words, "--format", "json"]) == 0
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


@pytest.mark.parametrize(("model", "params"), USED_PARAMS.items())
def test_every_verb_takes_the_parameters_that_a_token_uses(model: str, params: int, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--model", model, "--tokens", "1T", "--seq-len", "4096", "--hardware", "h100-sxm5-80gb", "--gpus", "256"]
    flop = 6 * params * 10**12
    assert answer(capsys, "estimate", *run, "--utilization", "0.35")["training_flop_by_convention"]["6nd"] == flop
    share = flop / (256 * 300 * 86_400 * H100_FLOP_PER_S)
    for claimed in (answer(capsys, "check-claim", *run, "--days", "300"), answer(capsys, "estimate", *run, "--days", "300")):
        assert claimed["implied_utilization_fraction_by_convention"]["6nd"] == pytest.approx(share, rel=1e-12)
        assert claimed["implied_utilization_fraction"] == pytest.approx(share, rel=1e-12)
    told = answer(capsys, "translate", "--model", model, "--seq-len", "4096", "--tflops", "100", "--from", "6nd", "--to", "gpt-3")
    assert told["flop_ratio"] == 1
    assert told["tokens_per_s"] == pytest.approx(100e12 / (6 * params))


def test_the_published_run_of_deepseek_v3_is_35_percent_and_ordinary() -> None:
    estimated, checked = sixnd.estimate(**H800_RUN, days="54.2d"), sixnd.check_claim(**H800_RUN, days="54.2d")
    # N = 37.55e9: 671.03e9 less 248 of 256 experts in 58 layers, 3 x 7,168 x 2,048 each.
    n = 671_026_419_200 - 58 * 248 * 3 * 7168 * 2048
    assert n == pytest.approx(37.55e9, rel=1e-4)
    share = 6 * n * 14.8e12 / (2048 * 54.2 * 86_400 * H100_FLOP_PER_S)
    assert share == pytest.approx(0.351, abs=0.0005)
    for found in (estimated, checked):
        assert found.implied_utilization_fraction == pytest.approx(share, rel=1e-3)
        assert found.verdict == "ordinary"
    told = " ".join(estimated.text(verbose=True).split())
    assert "35.1 % by 6·N·D" in told or "35.1 % of peak by 6·N·D" in told


@pytest.mark.parametrize(
    ("asked", "days"),
    [
        ({**H800_RUN, "utilization": 0.351}, 54.2),
        # 6 x 12.88e9 x 1e12 / (0.35 x 256 x 989.4e12 x 86,400)
        ({"model": "mixtral-8x7b", "tokens": "1T", "hardware": "h100-sxm5-80gb", "gpus": 256, "utilization": 0.35}, 10.091),
    ],
    ids=["deepseek-v3", "mixtral-8x7b"],
)
def test_a_utilization_by_6nd_makes_the_days_of_the_parameters_used(asked: dict[str, Any], days: float) -> None:
    found = sixnd.estimate(**asked, convention="6nd")
    assert found.wall_days == pytest.approx(days, rel=0.0015)  # the share is given to three digits
    assert found.convention == "6nd"
    assert "the parameters that a token uses" in " ".join(found.text(verbose=True).split())


def test_the_explanation_multiplies_the_n_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "mixtral-8x7b", "--tokens", "1T", "--hardware", "h100-sxm5-80gb", "--utilization", "0.35", "--seq-len", "4096"]
    body = answer(capsys, "estimate", *words, "--convention", "6nd", "--explain")
    rows = [row for row in body["explanation"]["rows"] if row["figure"] == "FLOP per sequence"]
    (n,) = [row["value"] for row in rows if row["symbol"] == "N"]
    assert n == USED_PARAMS["mixtral-8x7b"]
    assert rows[0]["value"] == 6 * n * 4096


def test_compute_optimal_spends_the_compute_of_the_parameters_used(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "mixtral-8x7b", "--tokens", "1T", "--hardware", "h100-sxm5-80gb", "--gpus", "256", "--seq-len", "4096"]
    assert answer(capsys, "plan", *words, "--compute-optimal")["budget_flop"] == 6 * USED_PARAMS["mixtral-8x7b"] * 10**12


@pytest.mark.parametrize(("task", "per_token"), [("train", 6), ("prefill", 2)])
def test_the_rule_in_a_record_is_of_the_parameters_used(task: Any, per_token: int) -> None:
    name = "olmoe-1b-7b"
    config = dict(model_entry(name).config)
    sizes = {"batch": 2, "seq_len": 64, "new_tokens": 0, "num_beams": 1}
    asked = Asked(**Request(model=name, config=config, task=task).to_dict())
    run = Run(model=name, config=config, task=task, dtype="bf16", optimizer="adamw", recompute="none", job=None, **sizes, request=asked)
    (phase,) = predict(model_from_config(config, name), run, hardware("h100-sxm5-80gb")).phases.values()
    assert phase.rule_flop == per_token * USED_PARAMS[name] * 128
