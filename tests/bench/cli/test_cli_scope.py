"""What a figure is of, on the command line: the source of an encoder-decoder, layers beside a decoder, parts left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from estimators.spec import Workload
from tests.support.error_lines import complaint

T5 = ["--model", "t5-small", "--seq-len", "10"]
VISION_LANGUAGE: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {"model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50},
    "vision_config": {},
}


def printed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 0
    return capsys.readouterr().out


def test_show_counts_a_source_of_the_length_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """T5-small: 6 layers whose queries, keys, values, outputs and feed-forward read 100 tokens: 2·(4·512² + 2·512·2048) FLOP each,
    and 4·100·512 for their square; keys and values of the decoder's 6 layers read them as well."""
    longer, shorter = (
        json.loads(printed(["show", *T5, "--source-len", length, "--format", "json"], capsys))["forward_flop"] for length in ("100", "1")
    )
    per_token = 6 * 2 * (4 * 512**2 + 2 * 512 * 2048) + 6 * 2 * 2 * 512**2
    square, cross = 6 * 4 * 512 * (100**2 - 1), 6 * 4 * 512 * 10 * 99
    assert longer - shorter == 99 * per_token + square + cross


@pytest.mark.parametrize("words", [["show", *T5], ["estimate", *T5], ["estimate", *T5, "--tokens", "1B"]])
def test_every_table_says_what_the_encoder_reads(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "the encoder reads 100 positions" in printed([*words, "--source-len", "100"], capsys)
    assert "the encoder reads as many tokens as the decoder; --source-len changes it" in printed(words, capsys)


def test_a_training_of_longer_sources_costs_what_its_op_table_says(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.loads(printed(["estimate", *T5, "--source-len", "100", "--tokens", "10", "--format", "json"], capsys))
    entry = model_entry("t5-small")
    ops = model_from_config(entry.config, entry.id).ops(Workload(phase="train", seq_len=10, source_len=100))
    assert body["training_flop"] == sum(op.count * (op.flop + op.backward_flop) for op in ops)


@pytest.mark.parametrize("verb", ["show", "estimate"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "phi-2", "--source-len", "9"], "--source-len 9: phi-2 has no encoder beside a decoder; leave --source-len out"),
        (["--model", "bert-base-uncased", "--source-len", "9"], "--source-len 9: bert-base-uncased has no encoder beside a decoder"),
        (["--model", "whisper-tiny", "--source-len", "9"], "the encoder of whisper-tiny takes 1500 positions and nothing else"),
        (["--model", "bart-base", "--source-len", "2000"], "source_len 2,000: the encoder of bart-base has 1,024 positions; give at most"),
        ([*T5, "--source-len", "0"], "source-len '0' is out of range"),
    ],
)
def test_a_source_that_the_model_does_not_read_is_one_line(
    verb: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in complaint([verb, *words], capsys)


def test_an_explanation_names_the_source_in_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert "python -m bench show --model t5-small --source-len 100 --phase train" in printed(
        ["estimate", *T5, "--source-len", "100", "--explain"], capsys
    )


def test_show_prints_prediction_layers_by_themselves_and_says_that_they_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """DeepSeek-V3 report, section 4.2 and the checkpoint's files: 11.6B beside the decoder, without the copies of embedding and head.

    By hand: norms 3·D, a product of 2·D by D, and one layer of the decoder's with experts, which the checkpoint holds 58 times.
    """
    words = ["show", "--model", "deepseek-v3", "--seq-len", "64"]
    body = json.loads(printed([*words, "--format", "json"], capsys))
    attention = 7168 * 1536 + 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 + 512 * 128 * 256 + 128 * 128 * 7168
    layer = attention + 257 * 3 * 7168 * 2048 + 256 * 7168 + 2 * 7168
    assert body["prediction_params"] == 3 * 7168 + 2 * 7168**2 + layer
    assert body["prediction_included"] is False
    assert body["params"] == 671_026_404_352
    *rows, total = body["prediction"]["rows"]
    assert total["flop"] == body["prediction_flop"] == sum(row["flop"] for row in rows)
    for style in ("text", "md"):
        text = " ".join(printed([*words, "--format", style, "-v"], capsys).split())
        assert "left out: 1 multi-token prediction layer, 11,610,067,968 parameters" in text
        assert "Multi-token prediction of deepseek-v3: " in text
        assert "not included above" in text


def test_models_without_prediction_layers_have_no_such_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert "predict" not in printed(["show", "--model", "deepseek-v2", "--seq-len", "64", "--format", "json"], capsys)


TRAINED = ["--tokens", "1B", "--gpus", "2", "--hardware"]
WRAPPED = {
    "model_type": "internvl_chat",
    "llm_config": {**VISION_LANGUAGE["text_config"], "model_type": "qwen2", "num_key_value_heads": 2},
    "vision_config": {},
}


@pytest.mark.parametrize("config", [VISION_LANGUAGE, WRAPPED], ids=["gemma3", "internvl_chat"])
@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["estimate"],
        ["estimate", *TRAINED, "a100-sxm4-80gb"],
        ["estimate", *TRAINED, "a100-sxm4-80gb", "--utilization", "0.01"],
        ["plan", *TRAINED, "a100-sxm4-80gb"],
        ["compare-hardware", *TRAINED, "a100-sxm4-80gb,h100-sxm5-80gb"],
        ["compare-hardware", *TRAINED, "a100-sxm4-80gb,h100-sxm5-80gb", "--utilization", "0.01"],
        ["translate", "--mfu", "0.4", "--from", "megatron", "--to", "maxtext"],
        ["check-claim", *TRAINED, "a100-sxm4-80gb", "--days", "1"],
    ],
)
def test_a_vision_language_model_is_counted_by_its_text_and_every_verb_says_so(
    words: list[str], config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = " ".join(printed([*words, "--config", str(tmp_path), "--seq-len", "8"], capsys).split())
    assert "left out: the vision encoder (vision_config) and the projection of its features: only the language part is counted" in said


def test_a_vision_language_model_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(VISION_LANGUAGE))
    assert "takes more than text; expected a causal language model" in complaint(
        ["run", "--config", str(tmp_path), "--seq-len", "8"], capsys
    )
