"""`serve --simulate`: a rate, users, a file of requests, two pools; what is told, and what is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main

LLAMA = "serve llama-3.1-8b --hardware h100-sxm5-80gb"


def answered(command: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert main([*shlex.split(f"{LLAMA} {command}"), "--format", "json"]) == code
    found = json.loads(capsys.readouterr().out)
    tables = found if isinstance(found, list) else [found]
    return dict(tables[0])


def test_a_rate_comes_out_as_it_went_in(capsys: pytest.CaptureFixture[str]) -> None:
    found = answered("--rate 4 --input 1000 --output 100 --simulate 400", capsys)
    assert found["requests_per_s_per_replica"] == pytest.approx(4, rel=0.15)
    assert found["num_answered"] == 400
    assert found["requests_per_s_per_replica"] * 1000 == pytest.approx(found["prompt_tokens_per_s_per_replica"])
    assert [row["latency"] for row in found["rows"]] == ["queue", "TTFT", "ITL", "TPOT", "end to end"]
    assert found["rows"][1]["mean_s"] == found["ttft_s"]
    assert all(row["definition"] for row in found["rows"])
    assert all(row["mean_low_s"] < row["mean_s"] < row["mean_high_s"] for row in found["rows"])


def test_users_are_as_many_as_the_concurrency_and_lengths_are_spread_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    found = answered("--concurrency 16 --input 500..1500 --output 40..60 --simulate 200 --seed 7", capsys)
    assert found["most_running"] == 16
    assert found["mean_input_tokens"] == pytest.approx(1000, abs=3)
    assert found["load"] == "16 users in a closed loop, seed 7"


def test_users_of_several_replicas_are_shared_out(capsys: pytest.CaptureFixture[str]) -> None:
    found = answered("--users 1000 --itl 12ms --simulate 300", capsys)
    users = int(found["load"].split()[0])
    assert 1 < users < 500


def test_requests_of_a_file_are_replayed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    held = tmp_path / "requests.csv"
    held.write_text("arrival_s,input_tokens,output_tokens\n0,100,5\n10,200,6\n", encoding="utf-8")
    found = answered(f"--requests {held}", capsys)
    assert (found["num_answered"], found["mean_input_tokens"], found["mean_output_tokens"]) == (2, 150, 5.5)
    assert found["wall_s"] > 10
    assert main(shlex.split(f"{LLAMA} --requests {held} --rate 3")) == 2
    assert "has arrivals of its own" in capsys.readouterr().err


def test_assumptions_of_pools_speculation_and_prefixes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--concurrency 8 --simulate 40 --prefill-gpus 1 --speculate 3,coding --prefix-share 0.5"
    assert main(shlex.split(f"{LLAMA} {words}")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "prompts are read by a pool of 1 x H100" in shown
    assert "yields 2.97 tokens, the same for all (the median of 11 measured drafts on coding, 2.49 to 3.39)" in shown
    assert "50.0 % of every prompt is found in the cache" in shown
    assert len(shown) > 100


def test_a_mean_beyond_its_limit_is_said_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{LLAMA} --concurrency 64 --simulate 100 --ttft 1ms")) == 1
    assert "the mean TTFT is beyond its limit" in capsys.readouterr().out


def test_what_has_no_room_says_so_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("serve llama-3.1-70b --hardware l40s-48gb --gpus-per-replica 1 --simulate 10 -q")) == 1
    assert capsys.readouterr().out.startswith("NO: ")


@pytest.mark.parametrize(
    ("words", "about"),
    [
        ("--simulate many", "simulate 'many' is not a count"),
        ("--requests nowhere.csv", "cannot read 'nowhere.csv'"),
        ("--input ten --simulate", "input 'ten' is not a count"),
        ("--speculate 3,poetry", "no drafts were measured on 'poetry'"),
    ],
)
def test_wrong_words_are_one_line(words: str, about: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{LLAMA} {words}")) == 2
    said = capsys.readouterr().err
    assert about in said
    assert said.count("\n") == 1
