"""`estimate`: what to plan with, and models that no published run says anything of."""

from __future__ import annotations

import json

import pytest

from bench.cli.main import main


def test_the_answer_says_what_to_plan_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", "--model", "llama-3-8b", "--tokens", "1T", "--hardware", "a100-sxm4-80gb", "--gpus", "256"]
    assert main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "plan with: " in shown
    assert "; sign for " in shown
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["days"] < found["plan_with_days"] < found["plan_at_worst_days"]
    assert found["sign_for_gpu_hours"] == pytest.approx(found["plan_at_worst_days"] * 24 * 256)


@pytest.mark.parametrize("model", ["resnet-50", "vit-base-patch16-224", "bert-base-uncased", "whisper-base"])
def test_what_is_no_language_model_is_given_the_bound_and_not_a_language_model_s_utilization(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"estimate --model {model} --tokens 1B --hardware a100-sxm4-80gb --gpus 8".split()) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ": at least " in shown
    assert "published runs are of language models, and" in shown


def test_a_bad_track_record_is_a_sentence_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    for device, said in (("b200-sxm-180gb", True), ("a100-sxm4-80gb", False)):
        assert main(f"estimate --model llama-3-8b --tokens 1T --hardware {device} --gpus 64".split()) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "track record of left-out steps: " in shown
        assert (f"measured steps of {device} were predicted" in shown) is said
