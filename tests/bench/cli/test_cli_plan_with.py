"""`estimate`: what to plan with, and models that no published run says anything of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.cli.main import main
from estimators.training.interval import TrackRecord


def test_the_answer_says_what_to_plan_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", "--model", "llama-3-8b", "--tokens", "1T", "--hardware", "a100-sxm4-80gb", "--gpus", "256"]
    assert main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "plan with " in shown
    assert "; sign for " in shown
    assert main([*words, "-v"]) == 0
    assert "plan with: " in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["days"] < found["plan_with_days"] < found["plan_at_worst_days"]
    assert found["sign_for_gpu_hours"] == pytest.approx(found["plan_at_worst_days"] * 24 * 256)


def test_a_claim_is_held_to_what_the_same_answer_plans_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", "--model", "llama-3-8b", "--tokens", "1T", "--hardware", "a100-sxm4-80gb", "--gpus", "256", "--format", "json"]

    def training(*more: str) -> dict[str, Any]:
        assert main([*words, *more]) == 0
        body = json.loads(capsys.readouterr().out)
        return dict(body.get("training", body))

    plan = training()
    for days, said in (
        (0.99 * plan["plan_at_best_days"], "less than the prediction allows"),
        (1.01 * plan["plan_at_best_days"], "agree with the prediction"),
        (0.99 * plan["plan_at_worst_days"], "agree with the prediction"),
        (1.01 * plan["plan_at_worst_days"], "more than the prediction allows"),
    ):
        assert said in " ".join(training("--days", str(days))["notes"])


@pytest.mark.parametrize("model", ["resnet-50", "vit-base-patch16-224", "whisper-base"])
def test_a_model_of_images_or_speech_is_given_the_rate_of_its_own_class(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"estimate --model {model} --tokens 1B --hardware a100-sxm4-80gb --gpus 8".split()) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ": about " in shown
    assert "constants of " in shown
    assert "published runs" not in shown


@pytest.mark.parametrize("model", ["mobilenet-v2-1.0-224", "bert-base-uncased"])
def test_what_is_no_language_model_is_given_the_bound_and_not_a_language_model_s_utilization(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"estimate --model {model} --tokens 1B --hardware a100-sxm4-80gb --gpus 8".split()) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ": at least " in shown
    assert "published runs are of language models, and" in shown


@pytest.mark.parametrize(("median", "coverage", "said"), [(0.28, 0.9, True), (0.1, 0.5, True), (0.1, 0.8, False)])
def test_a_bad_track_record_is_a_sentence_of_the_answer(
    median: float, coverage: float, said: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = TrackRecord(rows=25, median_error=median, bias=-median, coverage=coverage, ends=(-0.1, 0.1))
    monkeypatch.setattr("reports.views.training.track_record.track_record", lambda kind, name: record)
    assert main(["estimate", "--model", "llama-3-8b", "--tokens", "1T", "--hardware", "b200-sxm-180gb", "--gpus", "64"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ("Doubt the time: 25 measured steps of b200-sxm-180gb were predicted" in shown) is said
