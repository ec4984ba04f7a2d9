"""Every answer fits one screen: at most 30 lines at 100 columns, nothing wider than the terminal, the answer in its first line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from bench.cli.main import main
from estimators.frozen import replace
from estimators.printable import num_columns
from reports.render import render
from reports.screen import HEIGHT, screen_lines
from tests.support.screens import WIDTHS, Emitted, demand_one_screen, too_wide

LLAMA = "--model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb"
PLAN = "plan --model gpt2 --hardware a100-sxm4-80gb --gpus 4 --tokens 1B"

ANSWERS = {
    f"estimate {LLAMA} --gpus 256": r"[\d.]+ days",
    f"estimate {LLAMA}": r"[\d,]+ GPU-days",
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45": r"26\.0 days",
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --utilization 0.45": r"26,620 GPU-days",
    "estimate --model llama-3-8b --tokens 1T": r"5\.791e\+22 FLOP",
    f"estimate {LLAMA} --deadline 30d": r"[\d,]+ x",
    f"estimate {LLAMA} --utilization 0.4 --deadline 30d": r"[\d,]+ x",
    "estimate --model llama-3-8b --hardware h100-sxm5-80gb --budget-usd 1M": r"[\d.]+ T tokens",
    "estimate --model llama-3-8b --hardware h100-sxm5-80gb --budget-gpu-days 1000": r"[\d.]+ [BT] tokens",
    f"estimate {LLAMA} --gpus 256 --days 10": r"[\d.]+ % of peak",
    "estimate --model resnet-50 --tokens 1B --hardware a100-sxm4-80gb --gpus 8": r"about [\d.]+ (h|days)",
    "estimate --model mobilenet-v2-1.0-224 --tokens 9B --hardware a100-sxm4-80gb --gpus 8": r"at least [\d.]+ (h|min)",
    "estimate --model qwen2.5-vl-7b --images 2 --text-tokens 300 --examples 1M --hardware h100-sxm5-80gb --gpus 8": r"about [\d.]+ h",
    "estimate --model whisper-large-v3 --audio-hours 9000 --epochs 3 --hardware a100-sxm4-80gb --gpus 8": r"about [\d.]+ h",
    "estimate --model dit-xl-2 --images-total 1.28M --epochs 1400 --hardware a100-sxm4-80gb --gpus 8": r"about [\d.]+ days",
    "show --model sdxl --denoising-steps 30 --guidance": r"[\d.]+ TFLOP",
    "estimate --model llama-4-scout --tokens 1T --hardware h100-sxm5-80gb --gpus 512 --utilization 0.3": r"[\d.]+ days",
    "estimate --model gpt2": r"3\.19 GiB to train",
    "estimate --model gpt2 --hardware h100-sxm5-80gb": r"tokens/s|training",
    "estimate --model resnet-50 --hardware a100-sxm4-80gb": r"training",
    "estimate --model llama-3-70b --hardware h100-sxm5-80gb --prompt-tokens 512": r"[\d.]+ tokens/s",
    "estimate --model gpt2 --prompt-tokens 512": r"MiB",
    PLAN: r"[\d.]+ (h|days|min)",
    "plan --model gpt2 --hardware a100-sxm4-80gb --gpus 4": r"[\d.]+ (s|ms) a step",
    f"{PLAN} --layout tp=2,dp=2": r"[\d.]+ (h|days|min)",
    f"{PLAN} --scaling": r"[\d.]+ (h|days|min)",
    f"{PLAN} --what-if recompute=full": r"[\d.]+ (h|days|min) to [\d.]+ (h|days|min)",
    f"{PLAN} --compute-optimal": r"[\d.]+ [MB] parameters",
    "plan --model gpt2 --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 4 --tokens 1B": r"h100-sxm5-80gb|gpt2 on 1\.00 B tokens",
    "fit llama-3.1-8b --method qlora --batch 4 --seq-len 2048 --hardware 4090 --framework trl": r"FITS: [\d.]+ GiB of 24\.0 GiB",
    "fit llama-3-8b --method full --seq-len 4096 --batch 4 --hardware 4090": r"NO: [\d.]+ GiB of 24\.0 GiB",
    "fit llama-3-8b --method full --hardware 4090 --gpus 4": r"NO: [\d.]+ GiB of 24\.0 GiB",
    "fit llama-3.1-8b --method qlora --hardware 4090 --framework trl --largest seq-len": r"at most [\d,]+ tokens",
    "disclose llama-3.1-8b --method lora --tokens 2B --hardware 8xh100 --hours 30 --location FR": r"240 device hours",
    "fit --hardware 3060 --menu": r"QLoRA: gemma-2-9b",
    "serve llama-3.1-8b --hardware l40s --users 200 --ttft 1s --itl 50ms": r"200 users: [\d]+ x L40S",
    "serve llama-3.1-70b --hardware h100 --gpus-per-replica 4 --weights fp8 --kv fp8 --concurrency 1..256 --api-price 0.15,0.60": (
        r"256 users.* on llama-3\.1-70b \(fp8\) on 4 x H100"
    ),
    "serve deepseek-v3 --hardware h200 --gpus-per-replica 8": r"256 users",
    "serve gpt-oss-120b --hardware h100": r"[\d]+ users",
    "serve deepseek-v3 --hardware h200 --weights bf16 --gpus-per-replica 8": r"NO: deepseek-v3",
    "serve llama-3.1-70b --hardware h100 --ttft 2s --itl 50ms --search": r"within TTFT 2\.00 s and ITL 50\.0 ms: \d+ GPU",
    "serve llama-3.1-70b --hardware h100 --gpus-per-replica 4 --itl 1ms": r"not one user within ITL 1\.00 ms",
    "compare-hardware --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb,l40s-48gb,mi300x-192gb --gpus 64": r"fastest",
    "compare-hardware --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb,h100-sxm5-80gb --utilization 0.4": r"of each kind",
    "check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14": r"Above every published run, 64\.4 % of",
    "check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 2": r"Impossible",
    "diagnose llama-2-7b --tokens-per-s 3700 --per gpu --hardware a100-sxm4-80gb --gpus 8 --seq-len 4096": r"^NORMAL, 3,700 tokens/s",
    "diagnose llama-2-7b --tokens-per-s 900 --per gpu --hardware a100-sxm4-80gb --gpus 64 --seq-len 4096": r"^SLOW, 900 tokens/s",
    "diagnose gpt2 --mfu 1.04 --hardware h100-sxm5-80gb --seq-len 1024 --software nanoGPT": r"^IMPOSSIBLE, 104 % of peak",
    "diagnose llama-3-70b --phase decode --tokens-per-s 30 --hardware a100-pcie-80gb --gpus 2 --weights bf16": r"^IMPOSSIBLE, 30 tokens/s",
    "translate --model llama-2-7b --seq-len 4096 --mfu 0.54 --from llm-foundry --to megatron": r"49\.4 %",
    "translate --model llama-3-8b --tflops 711 --from nemo-24.07 --to all --hardware h100-sxm5-80gb --dtype fp8": r"35\.9 %",
}
"""A command -> what the first line of its answer says at any width."""


@pytest.mark.parametrize("words", ANSWERS)
def test_an_answer_is_one_screen_at_any_width(words: str, emitted: Emitted) -> None:
    assert main(shlex.split(words)) in (0, 1)
    ((tables, screen),) = emitted
    assert screen is not None
    demand_one_screen(screen, len(tables), answer=ANSWERS[words])


def test_what_is_printed_has_the_width_that_was_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(shlex.split("check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14")) == 0
        lines = capsys.readouterr().out.splitlines()
        assert width - 20 < max(map(num_columns, lines)) <= width


def test_what_is_not_one_screen_is_seen(emitted: Emitted) -> None:
    assert main(shlex.split(f"estimate {LLAMA} --utilization 0.4")) == 0
    ((tables, screen),) = emitted
    assert screen is not None
    longer = [line for line, _ in screen_lines(replace(screen, notes=["x"] * 99), 100, num_tables=1, height=200)]
    assert len(longer) > HEIGHT
    assert too_wide(render(tables, "text").splitlines(), 140)


@pytest.mark.parametrize("words", [f"estimate {LLAMA} --utilization 0.4", "translate --model gpt2 --mfu 0.4 --from palm --to megatron"])
def test_quiet_is_one_line_and_verbose_and_the_other_formats_hold_everything(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*more: str) -> str:
        assert main([*shlex.split(words), *more]) == 0
        return capsys.readouterr().out

    answer = said().splitlines()[0]
    assert said("-q") == f"{answer}\n"
    body = json.loads(said("--format", "json"))
    whole = " ".join(said("-v").split())
    for text in (*body["conditions"], *body["notes"]):
        assert " ".join(text.split()) in whole
    for style in ("md", "html", "csv"):
        shown = [said("--format", style, *more).partition("<footer>")[0] for more in ((), ("-q",), ("-v",))]
        assert shown[0] == shown[1] == shown[2]


@pytest.mark.parametrize("name", ["a-very-long-name" * 12, "深度学习模型训练成本" * 7])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_hostile_name_passes_no_width_and_is_whole(
    name: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    config = Path(name, name, "config.json")  # a model is named by its path
    config.parent.mkdir(parents=True)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 50}
    config.write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 128, **shape}))
    for rest in ("", "--tokens 1B --hardware h100-sxm5-80gb --utilization 0.4"):
        assert main(["estimate", "--config", str(config), "--seq-len", "64", *rest.split()]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert too_wide(lines, width) == []
        assert str(config) in "".join(line.strip() for line in lines)
        assert width < 100 or len(lines) <= HEIGHT


def test_a_comparison_marks_the_fastest_the_cheapest_and_the_best_value(capsys: pytest.CaptureFixture[str]) -> None:
    words = "compare-hardware --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb,l40s-48gb,mi300x-192gb --gpus 64"
    assert main([*shlex.split(words), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert main(shlex.split(words)) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in {row["hardware"] for row in rows}}
    times, costs = ({row["hardware"]: row[key] for row in rows} for key in ("wall_days", "cost_usd_median"))
    values = {name: times[name] * costs[name] for name in times}
    for mark, figures in (("fastest", times), ("cheapest", costs), ("best value", values)):
        assert [name for name in shown if mark in shown[name]] == [min(figures, key=lambda name: figures[name])]


def test_one_change_is_answered_in_days_and_money(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(f"{PLAN} --what-if recompute=full"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    slower = found["after_step_time_s"] / found["before_step_time_s"]
    assert slower > 1
    for key in ("run_s", "cost_usd"):
        assert found[f"after_{key}"] / found[f"before_{key}"] == pytest.approx(slower, rel=1e-12)
    assert found["before_run_s"] == pytest.approx(found["run_s"], rel=1e-12)


def test_a_prompt_is_answered_with_inference_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("estimate --model gpt2 --prompt-tokens 512 --hardware h100-sxm5-80gb")) == 0
    assert "train" not in capsys.readouterr().out
