"""`serve`: exit codes, one line for what is wrong with the nearest that works, and the four shows of serving on one screen each."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from bench.cli.main import main

H100 = "llama-3.1-8b --hardware h100-sxm5-80gb"


def body_of(words: str, capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, Any]:
    assert main(["serve", *shlex.split(words), "--format", "json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{H100} --tp 3", "tp=3 does not divide the 32 heads and the feed-forwards of llama-3.1-8b; the nearest that does: tp=2"),
        (f"{H100} --pp 40", "pp=40 asks for more stages than the 32 layers of llama-3.1-8b; the most: pp=32"),
        (f"{H100} --tp 2 --ep 2", "ep=2 shares experts out, and llama-3.1-8b has none; expected ep=1"),
        ("mixtral-8x7b --hardware h100-sxm5-80gb --dp 16 --ep 16", "the nearest: ep=8"),
        ("mixtral-8x7b --hardware h100-sxm5-80gb --dp 4 --ep 3", "expected a divisor of them"),
        (f"{H100} --tp 2 --gpus 3", "tp x pp x dp are 2 devices; --gpus-per-replica was 3"),
        (f"{H100} --pp 2 --gpus 3", "do not divide --gpus-per-replica 3"),
        (f"{H100} --concurrency 9..3", "expected the fewest users first, such as 1..256"),
        (f"{H100} --concurrency 0..3", "expected a whole number from 1"),
        (f"{H100} --input none", "input 'none' is not a count"),
        (f"{H100} --output x.html", "--output is the tokens of an answer here; write the result with --out x.html"),
        (f"{H100} --output a/../x.json", "write the result with --out a/../x.json"),
        (f"{H100} --kv fp7", "a cache of 'fp7' is unknown; expected one of: bf16"),
        (f"{H100} --weights int3", "weights stored as 'int3' are unknown"),
        (f"{H100} --engine vlm", "unknown engine 'vlm'; did you mean 'vllm'?"),
        (f"{H100} --speculate 3", "expected two numbers, such as 3,2.3"),
        (f"{H100} --speculate 3,9", "from 1 to 4 tokens of a step"),
        (f"{H100} --api-price 0,0", "expected dollars from 0, one of them above"),
        (f"{H100} --ttft soon", "ttft is 'soon'; expected a time such as 50ms or 1s"),
        (f"{H100} --utilization 0", "utilization '0' is out of range"),
        (f"{H100} --prefix-share 1", "prefix-share '1' is out of range"),
        (f"{H100} --users 5 --rate 3", "not allowed with argument"),
        (f"{H100} --input 200k", "is more than the 131,072 that llama-3.1-8b was made for"),
        ("bert-base-uncased --hardware h100-sxm5-80gb", "is no decoder-only language model"),
        ("resnet-50 --hardware h100-sxm5-80gb", "is no decoder-only language model"),
    ],
)
def test_what_is_wrong_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *shlex.split(words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_blocks_that_no_device_has_are_impossible(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("serve llama-2-7b --hardware a10-24gb --kv-blocks 8348")) == 1
    assert "65.2 GiB of cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (f"{H100} --itl 50ms", 0),
        (f"{H100} --itl 1us", 1),
        ("llama-3.1-70b --hardware h100-sxm5-80gb --gpus 1", 1),
        (f"{H100} --rate 5 --itl 50ms", 0),
        (f"{H100} --rate 5 --itl 1us", 1),
        (f"{H100} --gpus 2 --itl 1us --search", 1),
    ],
)
def test_exit_codes(words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *shlex.split(words), "-q"]) == code
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "weights", "num_gpus"),
    [
        ("llama-3.1-8b --hardware l40s-48gb --ttft 1s --itl 50ms --users 200", "16-bit", None),
        ("llama-3.1-70b --hardware h100-sxm5-80gb --gpus-per-replica 4 --weights fp8 --kv fp8", "fp8", 4),
        ("deepseek-v3 --hardware h200-sxm-141gb --gpus-per-replica 8", "fp8-tiles", 8),
        ("gpt-oss-120b --hardware h100-sxm5-80gb", "mxfp4", 1),
    ],
)
def test_the_shows_have_the_four_rates_and_physics_holds(
    words: str, weights: str, num_gpus: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    body = body_of(words, capsys)
    assert body["weights"] == weights
    assert num_gpus is None or body["num_gpus"] == num_gpus
    replica, gpus = body["output_tokens_per_s_per_replica"], body["num_gpus_per_replica"]
    assert body["output_tokens_per_s_per_gpu"] == pytest.approx(replica / gpus)
    assert body["output_tokens_per_s_per_user"] == pytest.approx(1 / body["itl_s"])
    assert body["prompt_tokens_per_s_per_replica"] == pytest.approx(replica * 1000 / 300)
    assert body["itl_low_s"] < body["itl_s"] < body["itl_high_s"]
    assert [row["users"] for row in body["rows"]] == sorted({row["users"] for row in body["rows"]})
    assert {"memory", "prices", "deployment"} <= set(body)
    assert sum(row["bytes"] for row in body["memory"]["rows"]) == pytest.approx(
        body["memory"]["rows"][0]["bytes"] / body["memory"]["rows"][0]["share"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("words", "weights", "gib"),
    [
        ("llama-3.1-8b-awq", "awq", 5.4),
        ("llama-3.1-8b-fp8", "fp8", 8.5),
        ("llama-3.1-8b-nvfp4", "nvfp4", 5.6),
        ("llama-3.1-8b-awq --weights bf16", "16-bit", 15.0),
        ("llama-3.1-8b-quantized.w4a16", "awq", 5.3),  # symmetric: multiplied as awq's, held as the configuration says
    ],
)
def test_a_checkpoint_is_served_as_its_name_says(words: str, weights: str, gib: float, capsys: pytest.CaptureFixture[str]) -> None:
    body = body_of(f"{words} --hardware h100-sxm5-80gb", capsys)
    assert body["weights"] == weights
    assert body["weights_bytes"] / 2**30 == pytest.approx(gib, abs=0.1)


def test_a_prompt_that_is_only_read_has_no_time_between_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    body = body_of(f"{H100} --output 1", capsys)
    assert all(row["itl_s"] is None and row["output_tokens_per_s_per_user"] is None for row in body["rows"])


def test_a_length_is_a_mean_a_range_or_a_file(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lengths.csv").write_text("tokens\n500\n1500\n", encoding="utf-8")
    lengths = [body_of(f"{H100} --input {given}", capsys)["input_tokens"] for given in ("1000", "500..1500", tmp_path / "lengths.csv")]
    assert lengths == [1000, 1000, 1000]


def test_the_price_of_an_api_is_a_share_of_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    body = body_of(f"{H100} --price 2.5 --api-price 0.15,0.60", capsys)
    best = max(body["prices"]["rows"], key=lambda row: row["users"])
    asked_usd = (1000 * 0.15 + 300 * 0.60) / 1e6
    requests_per_s = body["requests_per_s_per_replica"]
    assert best["break_even_fraction"] == pytest.approx(2.5 / 3600 / (requests_per_s * asked_usd))


@pytest.mark.parametrize("words", [f"{H100} --explain", "gpt-oss-20b --hardware h100-sxm5-80gb --explain --speculate 3,2.3"])
def test_every_explained_figure_follows_from_its_numbers(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = body_of(words, capsys)["explanation"]["rows"]
    figures = {row["figure"]: row["value"] for row in rows if row["part"] == "is"}
    checks = {row["figure"]: row["text"] for row in rows if row["part"] == "check"}
    assert set(checks) == set(figures)
    assert len(figures) >= 6
    for figure, check in checks.items():
        arithmetic = check.removeprefix('python -c "print(').removesuffix(')"')
        assert eval(arithmetic, {"__builtins__": {}}) == pytest.approx(figures[figure], rel=1e-9), figure  # the command that is printed


def test_engines_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "engines", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {"vllm", "sglang", "tensorrt-llm", "llama-cpp"} <= {row["id"] for row in rows}
    assert all(row["source"] for row in rows)
