"""A generation on a deployment: its bound is that of single steps, it is never beaten, and a lone user of `serve` waits as long."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from bench.cli.main import main
from estimators.facts.registry import hardware
from estimators.inference.generation import generation
from estimators.serving.budget import budget
from estimators.serving.curve import Curve
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.one_request import one_request
from estimators.serving.question import ServeQuestion
from estimators.validation.model import shipped_model

MODELS = ["phi-2", "llama-3-8b", "gemma-2-9b", "qwen3-30b-a3b", "deepseek-v2-lite", "gpt-oss-20b", "mamba-2.8b"]


def deployment(model: str, device: str = "h100-sxm5-80gb", **settings: Any) -> Deployment:
    return Deployment(model=shipped_model(model), hardware=hardware(device), engine=engine("vllm"), **settings)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prompts", [1, 8])
def test_the_bound_is_that_of_single_steps_by_the_op_table(model: str, prompts: int) -> None:
    """Within 1 %: contexts in the mean here, one by one there."""
    served = one_request(deployment(model), prompt_tokens=512, new_tokens=128, prompts=prompts)
    alone = generation(shipped_model(model), prompt_tokens=512, new_tokens=128, batch=prompts, hardware=hardware("h100-sxm5-80gb"))
    assert served.generation_bound_s == pytest.approx(alone.bound_s, rel=0.01)
    assert served.generation_s > served.generation_bound_s
    assert served.prefill_s > served.prefill_bound_s


def test_devices_and_formats_lower_bound_and_prediction() -> None:
    one, two, small = (
        one_request(found, prompt_tokens=512, new_tokens=128)
        for found in (deployment("llama-3-8b"), deployment("llama-3-8b", tp=2), deployment("llama-3-8b", weights="fp8"))
    )
    for other in (two, small):
        assert other.generation_s < one.generation_s
        assert other.generation_bound_s < one.generation_bound_s
    assert two.generation_bound_s == pytest.approx(one.generation_bound_s / 2, rel=0.01)


def test_a_lone_user_of_a_load_waits_as_long() -> None:
    found = deployment("llama-3-8b")
    load = Curve(ServeQuestion(deployment=found, input_tokens=512, output_tokens=128), budget(found)).at(1)
    alone = one_request(found, prompt_tokens=512, new_tokens=128)
    assert load.ttft_s == pytest.approx(alone.prefill_s, rel=0.01)
    assert load.e2e_s == pytest.approx(alone.generation_s, rel=0.01)


def test_tokens_are_of_prompts_and_not_of_beams() -> None:
    beams = one_request(deployment("phi-2"), prompt_tokens=100, new_tokens=50, prompts=2, beams=5)
    assert beams.rows == 10
    assert beams.new_tokens_per_s == pytest.approx(2 * 50 / beams.generation_s)


def test_what_has_no_room_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert not one_request(deployment("llama-3-70b"), prompt_tokens=512, new_tokens=128).fits
    assert main(shlex.split("estimate llama-3-70b --hardware h100-sxm5-80gb --prompt-tokens 512")) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "cannot hold the 132 GiB" in said
    assert "predicted on" not in said


def test_estimate_answers_for_devices_engines_and_formats(capsys: pytest.CaptureFixture[str]) -> None:
    words = "estimate llama-3.1-70b --hardware h100-sxm5-80gb --gpus 4 --weights fp8 --engine sglang --prompt-tokens 1000 --new-tokens 300"
    assert main([*shlex.split(words), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    served = one_request(
        Deployment(model=shipped_model("llama-3.1-70b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("sglang"), tp=4, weights="fp8"),
        prompt_tokens=1000,
        new_tokens=300,
    )
    assert (body["engine"], body["num_gpus"], body["weights"]) == ("sglang", 4, "fp8")
    assert body["generation_s"] == served.generation_s
    assert body["generation_fits"] is True
    assert body["generation_time_bound_s"] > 12  # of one device in 16 bits, as before


def test_a_number_in_the_name_of_the_hardware_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("estimate phi-2 --hardware 2xh100 --prompt-tokens 100 -q")) == 0
    assert "2 x h100-sxm5-80gb (tp 2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gpt2 --engine vllm", "add --prompt-tokens and --hardware"),
        ("gpt2 --weights fp8 --prompt-tokens 5", "add --prompt-tokens and --hardware"),
        ("gpt2 --gpus 2 --hardware h100-sxm5-80gb", "--gpus belongs to a training run"),
        ("gpt2 --engine vlm --hardware h100-sxm5-80gb --prompt-tokens 5", "unknown engine 'vlm'; did you mean 'vllm'"),
        ("t5-small --gpus 2 --hardware h100-sxm5-80gb --prompt-tokens 5", "no decoder-only language model"),
    ],
)
def test_options_of_a_generation_alone(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *shlex.split(words)]) == 2
    assert said in capsys.readouterr().err
