"""Every verb answers for a model without a family here: its op table is traced once, kept, and read without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.backend.tracing.on_request import model_of
from bench.cli.main import main
from estimators.errors import NoOpTableError, UnavailableError
from estimators.spec import Op, Workload

XGLM: dict[str, Any] = {"model_type": "xglm", "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "vocab_size": 100}
WEIGHTS = 2 * (4 * 32 * 32 + 2 * 32 * 64)
HEAD = 100 * 32


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("xglm") / "config.json"
    path.write_text(json.dumps(XGLM))
    return str(path)


def body(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*words, "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_every_phase_is_counted_by_hand(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Per layer 4·D² + 2·D·F weights, a tied head of V·D, attention 4·D·T a token."""
    said = body(["show", "--config", config, "--seq-len", "16", "--batch", "2", "--context-len", "40"], capsys)
    assert said["built_as"] == "XGLMForCausalLM"
    assert said["forward_flop"] == 2 * 16 * (2 * (WEIGHTS + HEAD) + 2 * 4 * 32 * 16)
    assert said["training_flop"] == 3 * said["forward_flop"]
    assert said["prefill_flop"] == said["forward_flop"] - 2 * 15 * 2 * HEAD
    assert said["decode_flop"] == 2 * (2 * (WEIGHTS + HEAD) + 2 * 4 * 32 * 41)


def test_options_are_honoured(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = (body(["show", "--config", config, "--seq-len", "64", "--context-len", str(c)], capsys) for c in (10, 40))
    assert long["decode_flop"] - short["decode_flop"] == 2 * 4 * 32 * 30
    causal = body(["show", "--config", config, "--seq-len", "64", "--phase", "train", "--convention", "causal"], capsys)
    assert causal["phase"] == "train"


def test_adapters_and_frozen_layers_are_counted_by_hand(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rank 8 on queries and values of two layers of D x D; one of two layers frozen, and the embedding, which is the head."""
    tuned = body(["show", "--config", config, "--lora-rank", "8"], capsys)
    assert tuned["trainable_params"] == 2 * 2 * 8 * (32 + 32)
    frozen = body(["show", "--config", config, "--frozen-layers", "1"], capsys)
    of_a_layer = WEIGHTS // 2 + 4 * 32 + 64 + 32 + 2 * 2 * 32  # biases of four, of up and down; two norms
    assert frozen["trainable_params"] == of_a_layer + 2 * 32


@pytest.mark.parametrize("words", [["--image-size", "32"], ["--source-len", "9"]])
def test_an_option_that_it_cannot_honour_is_refused(words: list[str], config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--config", config, *words]) == 2
    said, refused = capsys.readouterr().err.splitlines()
    assert "op table traced from transformers" in said
    assert refused.startswith("error: ")


def test_the_second_question_needs_no_torch(config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["show", "--config", config, "--seq-len", "16"]
    before = body(words, capsys)
    monkeypatch.setitem(sys.modules, "bench.backend.tracing.trace", None)
    assert body(words, capsys) == before


@pytest.mark.parametrize(
    "words",
    [
        ["estimate", "--tokens", "1B", "--hardware", "h100-sxm5-80gb", "--gpus", "8"],
        ["check-claim", "--tokens", "100B", "--hardware", "h100-sxm5-80gb", "--gpus", "8", "--days", "30"],
        ["compare-hardware", "--hardware", "h100-sxm5-80gb,a100-sxm4-80gb", "--tokens", "1B", "--gpus", "8"],
        ["plan", "--hardware", "h100-sxm5-80gb", "--gpus", "8"],
    ],
    ids=lambda words: words[0],
)
def test_every_verb_takes_it_and_says_where_the_table_is_from(words: list[str], config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--config", config, "-v"]) == 0
    assert "op table traced from transformers" in " ".join(capsys.readouterr().out.split())


def test_a_table_is_exported_and_read_in_place_of_the_configuration(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.json"
    before = body(["show", "--config", config, "--seq-len", "16"], capsys)
    assert main(["show", "--config", config, "--export", str(table)]) == 0
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "bench.backend.tracing.trace", None)
    after = body(["show", "--config", str(table), "--seq-len", "16"], capsys)
    same = ("active_params", "forward_flop", "training_flop", "decode_flop", "prefill_flop", "built_as")
    assert [after[name] for name in same] == [before[name] for name in same]


def test_a_family_s_table_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--model", "gpt2", "--export", str(tmp_path / "table.json")]) == 2
    assert "the op table of gpt2 is its family's, not traced" in capsys.readouterr().err


def test_a_quantised_file_is_held_and_served_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve matrices of layers in a byte a weight and a 4-byte scale each; of the second file those of attention in two bytes."""
    table = tmp_path / "table.json"
    for left, attention in (([], 1), (["self_attn"], 2)):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**XGLM, "quantization_config": {"quant_method": "fp8", "modules_to_not_convert": left}}))
        assert main(["show", "--config", str(path), "--export", str(table)]) == 0
        capsys.readouterr()
        for file in (path, table):
            model = model_of(json.loads(file.read_text()), str(file))
            ops = model.ops(Workload(phase="decode", context_len=1))
            held = {op.name: op.count * op.stored_bytes for op in ops if op.stored_bytes is not None}
            attended, scales = 2 * 4 * 32 * 32, (4 if attention == 1 else 0) + 2
            assert sum(held.values()) == (attended if attention == 1 else 0) + WEIGHTS - attended + 2 * scales * 4 + biases(ops, held)
            said = body(["serve", "--config", str(file), "--hardware", "h100-sxm5-80gb"], capsys)
            assert said["weights"] == "fp8"
            assert any("matrices of layers are held as fp8 with a scale per matrix" in note for note in said["notes"])


def biases(ops: Sequence[Op], held: Mapping[str, int]) -> int:
    """Two bytes each."""
    return sum(2 * op.count * (op.params - op.mnk[1] * op.mnk[2]) for op in ops if op.name in held and op.mnk)


def test_why_none_can_be_traced_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object, name: str) -> None:
        raise UnavailableError("it looks at values that meta has none of")

    odd = {**XGLM, "d_model": 64}
    monkeypatch.setattr("bench.backend.tracing.trace.trace_config", refuse)
    with pytest.raises(NoOpTableError, match="none could be traced: it looks at values that meta has none of") as first:
        model_of(odd, "odd")
    monkeypatch.setitem(sys.modules, "bench.backend.tracing.trace", None)
    with pytest.raises(NoOpTableError) as second:
        model_of(odd, "odd")
    assert str(second.value) == str(first.value)
