"""`translate`: a tool's figure in another's convention, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from bench.cli.main import main
from estimators.facts.tool_conventions import tools
from tests.support.checkout import ROOT


@pytest.fixture
def translated(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0) -> Any:
        assert main(["translate", *words, "--format", "json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


LLAMA = ("--model", "llama-2-7b", "--seq-len", "4096")


def test_the_example_is_worked_by_hand(translated: Any) -> None:
    # llm-foundry: 6·6,738,415,616 + 12·32·4096·4096 = 46,872,944,640 FLOP per token. Megatron now: 6·(N - V·d - norms) + 6·32·4096·4096,
    # where V·d = 32,000·4096 and norms are 65·4096: 42,863,689,728.
    body = translated(*LLAMA, "--mfu", "0.54", "--from", "llm-foundry", "--to", "megatron")
    assert body["flop_ratio"] == pytest.approx(42_863_689_728 / 46_872_944_640)
    assert body["utilization_fraction"] == pytest.approx(0.54 * 42_863_689_728 / 46_872_944_640)
    assert (body["from"], body["to"], body["peak_ratio"], body["tokens_per_s"]) == ("llm-foundry", "megatron", 1.0, None)
    assert [row["flop_per_token"] for row in body["rows"]] == [46_872_944_640, 42_863_689_728]


def test_the_parts_add_up_to_the_flop_ratio(translated: Any) -> None:
    body = translated(*LLAMA, "--mfu", "0.54", "--from", "llm-foundry", "--to", "all", "--hardware", "h100-sxm5-80gb")
    parts: dict[str, float] = {}
    for row in body["differences"]["rows"]:
        parts[row["convention"]] = parts.get(row["convention"], 0) + row["difference_ratio"]
    for row in body["rows"][1:]:
        assert row["flop_ratio"] == pytest.approx(1 + parts[row["convention"]])
        assert row["utilization_fraction"] == pytest.approx(0.54 * row["flop_ratio"] * row["peak_ratio"])
        assert row["device_flop_per_s"] == pytest.approx(row["utilization_fraction"] * row["peak_flop_per_s"])


def test_all_is_every_tool_once(translated: Any) -> None:
    body = translated(*LLAMA, "--mfu", "50%", "--from", "palm", "--to", "all")
    assert sorted(row["convention"] for row in body["rows"]) == sorted(tools())
    assert body["rows"][0]["convention"] == "palm"


def test_a_device_brings_in_the_peaks_that_each_divides_by(translated: Any) -> None:
    body = translated(*LLAMA, "--mfu", "0.54", "--from", "llm-foundry", "--to", "torchtitan", "--hardware", "h100-sxm5-80gb")
    assert body["peak_ratio"] == pytest.approx(989.5 / 989)
    assert [row["peak_flop_per_s"] for row in body["rows"]] == [989.5e12, 989e12]


def test_a_published_rate_becomes_a_share_and_tokens_per_second(translated: Any) -> None:
    # NeMo Framework user guide 24.09: Llama 3 8B, sequences of 8,192, H100, fp8: 711 TFLOP/s are 12,273 tokens/s.
    words = ("--model", "llama-3-8b", "--seq-len", "8192", "--tflops", "711", "--from", "nemo-24.07", "--to", "llm-foundry")
    body = translated(*words, "--hardware", "h100-sxm5-80gb", "--dtype", "fp8")
    assert body["tokens_per_s"] == pytest.approx(12_273, rel=1e-3)
    assert body["utilization_fraction"] == pytest.approx(body["device_flop_per_s"] / 1979e12)


def test_recomputation_is_asked_for_by_those_who_count_it(translated: Any) -> None:
    words = ("--model", "gpt-3", "--tflops", "105", "--from", "megatron-2022", "--to", "alpa")
    without, with_it = translated(*words), translated(*words, "--recompute", "full")
    assert without["device_flop_per_s"] == pytest.approx(105e12)
    assert with_it["device_flop_per_s"] == pytest.approx(139.9e12, rel=1e-3)


def test_a_share_above_the_peak_is_shown_with_its_reason(translated: Any) -> None:
    body = translated(*LLAMA, "--mfu", "0.6", "--from", "llm-foundry", "--to", "nanogpt", "--hardware", "h100-sxm5-80gb")
    assert body["utilization_fraction"] == pytest.approx(0.6 * 989.5 / 312)
    assert body["possible"] is True
    (reason,) = [note for note in body["notes"] if "above the peak" in note]
    assert reason.startswith("nanoGPT, estimate_mfu says 190 %, above the peak: 1.68 % of its count are embedding tables: looked up")
    assert "it divides by 312 TFLOP/s, and the device has 989 TFLOP/s" in reason


def test_what_no_machine_can_have_done_is_shown_and_exits_1(translated: Any) -> None:
    body = translated(*LLAMA, "--mfu", "1.2", "--from", "torchtitan", "--to", "megatron", "--hardware", "h100-sxm5-80gb", code=1)
    assert body["possible"] is False
    assert body["least_fraction"] > 1
    assert body["utilization_fraction"] > 1
    assert "No machine does that" in body["notes"][0]
    assert "Unless most weights were frozen (LoRA)" in body["notes"][1]


def test_with_frozen_weights_the_same_figure_is_possible_and_explained(translated: Any) -> None:
    words = (*LLAMA, "--mfu", "1.2", "--from", "torchtitan", "--to", "megatron", "--hardware", "h100-sxm5-80gb")
    body = translated(*words, "--frozen")
    assert body["possible"] is True
    assert 0.7 < body["least_fraction"] < 0.85
    assert all("it counts gradients of weights that were frozen" in note for note in body["notes"][1:3])
    impossible = translated(*LLAMA, "--mfu", "2", "--from", "torchtitan", "--to", "megatron", "--frozen", code=1)
    assert impossible["possible"] is False


def test_without_a_device_a_rate_is_not_judged(translated: Any) -> None:
    body = translated(*LLAMA, "--tflops", "5000", "--from", "palm", "--to", "megatron")
    assert (body["possible"], body["least_fraction"], body["utilization_fraction"]) == (None, None, None)
    assert any("Physics is silent" in note for note in body["notes"])


def test_sources_and_what_each_counts_are_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", *LLAMA, "--mfu", "0.54", "--from", "llm-foundry", "--to", "megatron", "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "| llm-foundry" in out
    assert "https://github.com/mosaicml/llm-foundry/blob/main/scripts/train/benchmarking/collect_results.py" in out
    assert "half the square" in out
    assert out.startswith("### llm-foundry MFU 54.0 % is 49.4 % by Megatron now")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [*LLAMA, "--mfu", "0.5", "--from", "llm-foundri", "--to", "megatron"],
            "unknown convention 'llm-foundri'; did you mean 'llm-foundry'",
        ),
        (
            [*LLAMA, "--mfu", "54", "--from", "palm", "--to", "megatron"],
            "mfu '54' is out of range; expected a number above 0 to 10; a percentage needs its sign, as in 54%",
        ),
        ([*LLAMA, "--mfu", "0", "--from", "palm", "--to", "megatron"], "mfu '0' is out of range"),
        (
            [*LLAMA, "--tflops", "fast", "--from", "palm", "--to", "megatron"],
            "tflops 'fast' is not a rate; expected TFLOP/s, for example 450",
        ),
        ([*LLAMA, "--mfu", "0.5", "--tflops", "1", "--from", "palm", "--to", "megatron"], "not allowed with argument"),
        ([*LLAMA, "--from", "palm", "--to", "megatron"], "one of the arguments --mfu --tflops is required"),
        (["--model", "mlp", "--mfu", "0.5", "--from", "palm", "--to", "megatron"], "mlp is not a decoder-only language model"),
        (
            [*LLAMA, "--mfu", "0.5", "--from", "palm", "--to", "megatron", "--hardware", "a100-sxm4-80gb", "--dtype", "fp8"],
            "no published dense peak",
        ),
        (["--model", "gpt2", "--seq-len", "4096", "--mfu", "0.5", "--from", "palm", "--to", "megatron"], "more than the 1,024 positions"),
    ],
)
def test_a_wrong_request_is_one_line_and_exits_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_it_answers_without_what_measures() -> None:
    program = (
        "import sys\nfrom bench.cli.main import main\n"
        f"code = main({['translate', *LLAMA, '--mfu', '0.54', '--from', 'llm-foundry', '--to', 'all']!r})\n"
        "sys.exit(code or [name for name in ('torch', 'numpy', 'pandas', 'tabulate') if name in sys.modules] or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=False).returncode == 0
