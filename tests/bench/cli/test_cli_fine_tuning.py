"""Fine-tuning: what `show` counts, and what `estimate`, `plan` and `compare-hardware` make of the same words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.cli.main import main


def shown(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["show", "--model", "llama-2-7b", "--seq-len", "128", "--format", "json", *options]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_adapters_of_rank_8_train_what_peft_prints_and_cost_about_4n(capsys: pytest.CaptureFixture[str]) -> None:
    """Queries and values of 32 layers: 2 · 32 · 8 · (4096 + 4096) = 4,194,304. Frozen weights need no gradient: 4 of 6."""
    whole, tuned = shown(capsys), shown(capsys, "--lora-rank", "8")
    assert tuned["trainable_params"] == 4_194_304
    assert whole["trainable_params"] == whole["params"] == 6_738_415_616
    assert tuned["training_flop"] / whole["training_flop"] == pytest.approx(4 / 6, abs=0.01)  # type: ignore[operator]


def test_more_targets_train_more(capsys: pytest.CaptureFixture[str]) -> None:
    two, seven = shown(capsys, "--lora-rank", "8"), shown(capsys, "--lora-rank", "8", "--lora-targets", "all-linear")
    per_layer = 8 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    assert seven["trainable_params"] == 32 * per_layer
    assert two["trainable_params"] < seven["trainable_params"]  # type: ignore[operator]


def test_frozen_layers_have_no_backward_pass_below_the_first_trained_one(capsys: pytest.CaptureFixture[str]) -> None:
    whole, half = shown(capsys), shown(capsys, "--frozen-layers", "16")
    assert half["trainable_params"] == 32_000 * 4096 + 4096 + 16 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096)
    assert half["training_flop"] < whole["training_flop"]  # type: ignore[operator]
    assert half["forward_flop"] == whole["forward_flop"]


TRAINING = ("--model", "llama-2-7b", "--tokens", "1B", "--gpus", "8", "--seq-len", "2048", "--global-batch", "64seq")
METHODS = {
    "adapters": ("--lora-rank", "8", "--lora-targets", "q_proj,v_proj"),
    "upper layers": ("--frozen-layers", "24"),
    "4-bit base": ("--lora-rank", "8", "--base-format", "nf4", "--software", "transformers-qlora"),
}


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_three_verbs_give_a_fine_tuning_the_same_price(method: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    words = (*TRAINING, "--hardware", "a100-sxm4-80gb", *method)
    estimated, planned = said(capsys, "estimate", *words), said(capsys, "plan", *words)
    compared = said(capsys, "compare-hardware", *words)
    assert estimated["step_time_s"] == planned["step_time_s"] == compared["rows"][0]["step_time_s"]
    of_all = ("--software", "transformers", "--layout", "zero=3,micro_batch=2,recompute=full")
    whole = said(capsys, "estimate", *TRAINING, "--hardware", "a100-sxm4-80gb", *of_all)
    assert estimated["wall_days"] < whole["wall_days"]
    assert estimated["training_flop"] < whole["training_flop"]


def test_a_quantised_base_trains_where_the_whole_model_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("estimate", "--model", "llama-2-7b", "--tokens", "10M", "--hardware", "rtx-4090-24gb", "--gpus", "1", "--seq-len", "512")
    assert main([*words, "--global-batch", "16seq"]) != 0
    assert "fits on 1 x rtx-4090-24gb in no layout" in capsys.readouterr().err
    assert said(capsys, *words, "--global-batch", "16seq", *METHODS["4-bit base"])["wall_days"] > 0


@pytest.mark.parametrize("verb", ["estimate", "show"])
def test_adapters_of_single_steps_are_explained_with_their_own_words(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole, tuned = (said(capsys, verb, "--model", "gpt2", *words) for words in ((), ("--lora-rank", "4")))
    assert whole != tuned
    assert main(["estimate", "--model", "gpt2", "--lora-rank", "4", "--explain"]) == 0
    assert "--model gpt2 --lora-rank 4" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--lora-targets", "q_proj"], "--lora-targets needs --lora-rank"),
        (["--base-format", "nf4"], "--base-format needs --lora-rank"),
        (["--lora-rank", "8", "--frozen-layers", "2"], "exclude each other"),
        (["--lora-rank", "8", "--lora-targets", "q_projj"], "no linear layer"),
        (["--frozen-layers", "33"], "has 32"),
        (["--lora-rank", "0"], "lora-rank '0' is out of range"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(options: list[str], match: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--model", "llama-2-7b", *options]) == 2
    said = capsys.readouterr()
    assert match in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
