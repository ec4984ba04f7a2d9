"""`plan` on the command line."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.cli.plan import SLOW_S, searching
from estimators.training.layouts.emit import LAUNCHERS, from_file
from tests.support.checkout import ROOT
from tests.support.error_lines import complaint

GPT3 = "plan --model gpt-3-175b --tokens 300B --hardware a100-sxm4-80gb --gpus 1024"
LLAMA = "plan --model llama-2-7b --hardware a100-sxm4-80gb --gpus 64 --seq-len 4096"


def answer(words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(shlex.split(f"{words} --format json")) == 0
    return json.loads(capsys.readouterr().out)


def test_the_plan_says_what_the_papers_layout_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{GPT3} --layout tp=8,pp=8,sp=1")) == 0
    out = capsys.readouterr().out
    assert "yours" in out
    assert "Your layout takes" in out
    assert "more for the run." in out
    assert "pipeline bubble +" in out


def test_the_plan_as_json_has_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(f"{GPT3} --layout tp=8,pp=16,recompute=full", capsys)
    assert found["num_devices"] == 1024
    assert found["global_batch"] == 1536
    assert found["low_s"] < found["step_time_s"] < found["high_s"]
    assert found["own_step_time_s"] > found["step_time_s"]
    steps = 300 * 10**9 / (1536 * 2048)
    assert found["run_s"] == pytest.approx(steps * found["step_time_s"])
    assert found["gpu_hours"] == pytest.approx(found["run_s"] * 1024 / 3600)
    assert found["memory_bytes"] <= 79.2 * 2**30


def test_the_ledger_that_is_printed_sums_to_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{LLAMA} --format csv")) == 0
    rows = csv.DictReader(StringIO(capsys.readouterr().out))
    parts = {row["part"]: float(row["time_s"]) for row in rows if row["table"] == "ledger"}
    whole = parts.pop("whole")
    assert sum(parts.values()) == pytest.approx(whole, rel=1e-9)


def test_several_devices_with_a_deadline_are_ranked_by_money(capsys: pytest.CaptureFixture[str]) -> None:
    words = "plan --model llama-3-8b --tokens 1T --hardware h200-sxm-141gb,h100-sxm5-80gb,a100-sxm4-80gb --deadline 30d --format csv"
    assert main(shlex.split(words)) == 0
    rows = [row for row in csv.DictReader(StringIO(capsys.readouterr().out)) if row["table"] == "devices"]
    costs, days = ([float(row[key]) for row in rows] for key in ("cost_usd", "run_days"))
    assert len(costs) == 3
    assert costs == sorted(costs)
    assert max(days) <= 30


def test_a_device_that_cannot_do_it_stands_below_those_that_can(capsys: pytest.CaptureFixture[str]) -> None:
    words = "plan --model llama-3-8b --tokens 1T --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 64 --dtype fp8"
    assert main(shlex.split(words)) == 0
    out = capsys.readouterr().out
    assert "h100-sxm5-80gb is the one to take" in out
    assert "a100-sxm4-80gb has no published dense peak for fp8" in " ".join(out.split())


def test_scaling_sizing_and_one_change_have_tables_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(f"{LLAMA} --tokens 2T --scaling --what-if recompute=full --compute-optimal", capsys)
    assert found["scaling_stops_at_num_devices"] is None or found["scaling_stops_at_num_devices"] > 64
    assert found["after_step_time_s"] > found["before_step_time_s"]
    assert found["budget_flop"] == pytest.approx(6 * 6738415616 * 2e12)


def test_a_budget_of_device_time_is_sized_at_the_rate_of_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(f"{LLAMA} --compute-optimal --budget-gpu-days 100", capsys)
    tokens_per_s = found["global_batch"] * 4096 / found["step_time_s"] / 64
    assert found["budget_flop"] == pytest.approx(6 * 6738415616 * 100 * 86400 * tokens_per_s)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_is_emitted_reads_back_and_is_checked_by_the_verb(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "launch"
    assert main(shlex.split(f"{LLAMA} --emit {name} --output {path}")) == 0
    layout = from_file(str(path)).layout
    found = answer(f"{LLAMA} --from {path} --global-batch {layout.global_batch}seq", capsys)
    assert found["own_step_time_s"] >= found["step_time_s"]
    assert layout.num_devices == 64


def test_what_is_emitted_goes_to_standard_output_and_nothing_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{LLAMA} --emit deepspeed")) == 0
    assert json.loads(capsys.readouterr().out)["train_batch_size"] == 512


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{GPT3} --layout tp=7", "does not multiply to 1024 devices|does not multiply to 1,024 devices"),
        (f"{GPT3} --layout tp=10,pp=8,dp=12", "does not multiply"),
        (f"{GPT3} --global-batch 1000seq --layout tp=8,micro_batch=3", "does not divide into dp=128 x micro_batch=3"),
        (f"{GPT3} --deadline 3d", "less than physics allows on 1,024 x a100-sxm4-80gb"),
        (f"{GPT3} --budget 1k", "does not pay for 300 B tokens"),
        (f"{GPT3} --optimizer lion", "optimizer 'lion' is unknown"),
        (f"{GPT3} --software jaxx", "unknown software 'jaxx'"),
        (f"{GPT3} --emit slurm", "invalid choice: 'slurm'"),
        (f"{GPT3} --network fast", "network 'fast'"),
        (f"{GPT3} --layout tp=8 --from nothing.toml", "--layout and --from both give a layout"),
        (f"{GPT3} --what-if faster", "expected KEY=VALUE, such as gpus=2048"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --gpus 0", "gpus '0' is out of range"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --gpus 1000000000", "is out of range"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --gpus 8", "the fewest that hold it"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb", "how many devices"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --tokens 1B", "how many devices"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --gpus 64 --deadline 3d", "add --tokens"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --gpus 1024 --scaling", "add --tokens"),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb --gpus 1024 --compute-optimal", "add --budget-gpu-days, or --tokens"),
        ("plan --model gpt-3-175b --hardware ,, --gpus 1024", "names 0 devices"),
        (
            "plan --model gpt-3-175b --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 1024 --emit megatron",
            "one --hardware instead of 2",
        ),
        ("plan --model gpt-3-175b --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 8", "a100-sxm4-80gb: .*the fewest that hold it"),
        ("plan --model resnet-50 --hardware a100-sxm4-80gb --gpus 8", "resnet-50 is not a decoder with a head"),
    ],
)
def test_a_wrong_request_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(said, complaint(shlex.split(words), capsys))


def test_a_file_for_other_gpus_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "launch"
    assert main(shlex.split(f"{LLAMA} --emit megatron --output {path}")) == 0
    words = shlex.split(f"plan --model llama-2-7b --hardware a100-sxm4-80gb --gpus 128 --seq-len 4096 --from {path}")
    assert "is for 64 GPUs and 512 sequences a step; give --gpus 64 --global-batch 512seq" in complaint(words, capsys)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_search_says_how_far_it_is_and_a_short_one_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for started_s, shown in ((SLOW_S + 1, True), (SLOW_S / 2, False)):
        clock, stream = [0.0], Terminal()
        with searching("a100", stream=stream, now=lambda clock=clock: clock[0]) as on_progress:
            clock[0] = started_s
            on_progress(50, 200)
        assert ("a100: █████                50 of 200 layouts" in stream.getvalue()) is shown


def test_help_needs_no_numpy() -> None:
    code = "import sys, bench.cli.plan; sys.exit([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules] or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_a_plan_of_a_vision_language_file_says_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 1152, "num_hidden_layers": 6, "intermediate_size": 6912, "num_attention_heads": 4}
    text |= {"num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262144, "sliding_window": 512}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "gemma3", "text_config": text, "vision_config": {}}))
    assert main(shlex.split(f"plan --config {file} --hardware h100-sxm5-80gb --gpus 2 --seq-len 1024")) == 0
    assert "left out: the vision encoder (vision_config) and the projection of its features" in capsys.readouterr().out
