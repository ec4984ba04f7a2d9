"""Twelve files and more of eight tools, read to the last digit of what stands in them, each figure under the definition that it has."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from estimators.serving.results.one_file import FORMATS, named, read_results
from estimators.serving.results.result import QUANTITIES, ServingResult
from tests.support.load_results import FOLDER, path_of


def read(name: str) -> list[ServingResult]:
    return read_results(path_of(name))


def only(name: str) -> ServingResult:
    (result,) = read(name)
    return result


def raw(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".jsonl", ".csv", ".md", ".yaml"))


def test_there_are_twelve_files_of_six_tools_and_more() -> None:
    assert len(FILES) >= 12
    assert len({result.client.split()[0] for name in FILES for result in read(name)}) >= 6
    assert {result.file_format for name in FILES for result in read(name)} == set(FORMATS)


@pytest.mark.parametrize("name", FILES)
def test_a_format_that_is_named_is_the_one_that_is_recognised(name: str) -> None:
    found = read(name)
    form = found[0].file_format
    assert read_results(path_of(name), form) == found
    assert named(f"{form}={name}") == (form, name)
    assert named(name) == ("", name)


@pytest.mark.parametrize("name", FILES)
def test_every_figure_has_a_definition_and_is_no_less_than_nothing(name: str) -> None:
    for result in read(name):
        assert result.figures or result.requests
        assert all(figure.quantity in QUANTITIES and figure.value >= 0 for figure in result.figures)
        assert len({(figure.quantity, figure.statistic) for figure in result.figures}) == len(result.figures)


class TestVllm:
    def test_a_summary(self) -> None:
        found, said = only("vllm.json"), raw("vllm.json")
        assert (found.load.kind, found.load.request_rate, found.load.concurrency) == ("open", 10.0, None)
        assert (found.completed, found.failed, found.prompt_tokens, found.output_tokens) == (12, 0, 198, 96)
        assert found.duration_s == said["duration"]
        for word, quantity in {"ttft": "ttft_s", "tpot": "tpot_s", "itl": "itl_s", "e2el": "e2e_s"}.items():
            for statistic in ("mean", "median", "std", "p90", "p99"):
                assert found.stated(quantity, statistic) == said[f"{statistic}_{word}_ms"] / 1000
        assert found.stated("output_tokens_per_s", "mean") == said["output_throughput"]
        assert found.stated("total_tokens_per_s", "mean") == said["total_token_throughput"]
        assert found.seconds("e2e_s") == tuple(said["latencies"])

    def test_request_by_request_its_own_means_come_out(self) -> None:
        found, said = only("vllm_detailed.json"), raw("vllm_detailed.json")
        assert (found.load.kind, found.load.concurrency, len(found.requests)) == ("closed", 2, 6)
        assert found.seconds("ttft_s") == tuple(said["ttfts"])
        assert [request.gaps_s for request in found.requests] == [tuple(gaps) for gaps in said["itls"]]
        assert [request.prompt_tokens for request in found.requests] == said["input_lens"]
        for quantity, word in {"ttft_s": "ttft", "tpot_s": "tpot", "itl_s": "itl"}.items():
            assert found.value(quantity) == pytest.approx(said[f"mean_{word}_ms"] / 1000, rel=1e-12)

    def test_a_fork_without_units_in_its_keys_has_seconds(self) -> None:
        found = only("inferencex_fork.json")
        assert (found.stated("ttft_s", "median"), found.stated("tpot_s", "p99"), found.stated("ttft_s", "mean")) == (0.095, 0.0084, None)
        assert (found.load.kind, found.served.engine, found.failed) == ("closed", "vllm", 0)


class TestSglang:
    def test_a_run_a_line_and_infinity_for_a_rate(self) -> None:
        closed, open_ = read("sglang.jsonl")
        assert (closed.load.kind, closed.load.concurrency, closed.load.request_rate) == ("closed", 16, None)
        assert (open_.load.kind, open_.load.concurrency, open_.load.request_rate) == ("open", None, 4.0)
        assert (closed.stated("e2e_s", "median"), closed.stated("itl_s", "p95"), closed.stated("running", "mean")) == (2.53, 0.031, 15.875)
        assert (closed.stated("prompt_tokens_per_s", "mean"), closed.output_tokens) == (3200.0, 20480)
        assert (closed.served.accepted_len, open_.served.accepted_len) == (None, 2.4)

    def test_tokens_are_those_asked_for_not_those_of_the_texts_tokenized_anew(self) -> None:
        assert read("sglang.jsonl")[0].output_tokens == 20480


class TestGuidellm:
    def test_its_two_times_per_token_are_kept_apart(self) -> None:
        """Its inter-token latency leaves the first token out and is TPOT; its time per output token does not, and is not."""
        found, said = only("guidellm.json"), raw("guidellm.json")["benchmarks"][0]["metrics"]
        for name, quantity in {"inter_token_latency_ms": "tpot_s", "time_per_output_token_ms": "per_output_token_s"}.items():
            assert found.stated(quantity, "mean") == said[name]["successful"]["mean"] / 1000
            assert found.value(quantity) == pytest.approx(said[name]["successful"]["mean"] / 1000, rel=1e-9)
        assert found.stated("itl_s", "mean") is None
        assert found.stated("ttft_s", "p90") == said["time_to_first_token_ms"]["successful"]["percentiles"]["p90"] / 1000

    def test_what_was_asked_and_done(self) -> None:
        found = only("guidellm.json")
        assert found.client == "guidellm 0.8.1"
        assert (found.load.kind, found.load.concurrency, found.load.num_requests) == ("closed", 2, 6)
        assert (found.load.prompt_tokens, found.load.output_tokens, found.output_tokens, found.completed) == (32.0, 8.0, 48, 6)
        assert found.requests[0].arrival_s == 0

    def test_several_loads_of_a_yaml_file(self) -> None:
        found = read("guidellm.yaml")
        said = yaml.safe_load((FOLDER / "guidellm.yaml").read_text(encoding="utf-8"))["benchmarks"]
        assert [result.load.concurrency for result in found] == [1, 2]
        for result, benchmark in zip(found, said, strict=True):
            assert result.duration_s == benchmark["duration"]
            assert result.stated("e2e_s", "mean") == benchmark["metrics"]["request_latency"]["successful"]["mean"]


class TestAiperf:
    def test_the_servers_count_of_tokens_stands_above_the_clients(self) -> None:
        """The mock server sends words, of which each is several tokens to the client's tokenizer; the server says 8 of each request."""
        for name in ("aiperf.json", "aiperf.jsonl"):
            found = only(name)
            assert found.output_tokens == 48
            assert found.counted_by_client is not None
            assert found.counted_by_client > 48
        assert only("aiperf.json").stated("tpot_s", "mean") is None
        assert only("aiperf.json").stated("output_tokens_per_s", "mean") is None

    def test_request_by_request_as_in_its_summary(self) -> None:
        lines, summary, said = only("aiperf.jsonl"), only("aiperf.json"), raw("aiperf.json")
        assert summary.stated("ttft_s", "mean") == said["time_to_first_token"]["avg"] / 1000
        assert lines.value("ttft_s") == pytest.approx(said["time_to_first_token"]["avg"] / 1000, rel=1e-12)
        assert lines.value("e2e_s") == pytest.approx(said["request_latency"]["avg"] / 1000, rel=1e-12)
        assert lines.value("itl_s") == pytest.approx(said["inter_chunk_latency"]["avg"] / 1000, rel=1e-9)
        assert all(request.tpot_s == pytest.approx((request.e2e_s - request.ttft_s) / 7) for request in lines.requests)
        assert (summary.load.kind, summary.load.concurrency, summary.load.num_requests) == ("closed", 2, 6)


def test_inference_perf_has_seconds_and_three_times_per_token() -> None:
    found = only("inference_perf_stage.json")
    assert (found.stated("tpot_s", "mean"), found.stated("itl_s", "median"), found.stated("per_output_token_s", "mean")) == (
        0.0252,
        0.0241,
        0.026,
    )
    assert (found.completed, found.failed, found.load.request_rate, found.prompt_tokens, found.output_tokens) == (
        299,
        1,
        5.0,
        149500,
        29900,
    )


class TestLlamaBench:
    def test_samples_of_a_prompt_and_of_each_token(self) -> None:
        prompt, tokens = read("llama_bench.json")
        assert prompt.seconds("prefill_s") == (0.0746019, 0.0716329, 0.0717452, 0.0719527, 0.0707455)
        assert prompt.stated("prefill_s", "mean") == 0.07213564
        assert tokens.stated("decode_s", "mean") == 1.07676788 / 128
        assert (tokens.load.kind, tokens.load.concurrency, tokens.load.output_tokens) == ("static batch", 1, 128.0)

    def test_the_same_as_csv_and_as_a_table(self) -> None:
        assert read("llama_bench.csv")[0].stated("prefill_s", "mean") == 0.07028566
        table = read("llama_bench.md")
        assert [result.stated("prompt_tokens_per_s", "mean") for result in table[::2]] == [7340.20, 6425.91]
        assert table[3].stated("decode_s", "mean") == pytest.approx(1 / 116.71)


def test_inferencex_counts_prompt_and_output_by_gpu() -> None:
    found = only("inferencex_agg.json")
    assert [found.stated(f"{which}_tokens_per_s_per_gpu", "mean") for which in ("total", "output", "prompt")] == [1500.0, 750.0, 750.0]
    assert (found.stated("output_tokens_per_s", "mean"), found.stated("output_tokens_per_s_per_user", "median")) == (3000.0, 50.0)
    assert (found.served.num_gpus, found.served.weights, found.served.accepted_len) == (4, "fp8", 1.0)


def test_a_report_of_llm_d_says_its_units() -> None:
    found = only("llmd_report.yaml")
    assert (found.stated("ttft_s", "median"), found.stated("ttft_s", "p99.9"), found.stated("e2e_s", "mean")) == (
        36.2293 / 1000,
        57.0148 / 1000,
        3.134,
    )
    assert (found.served.num_gpus, found.served.tp, found.completed, found.failed) == (2, 1, 498, 2)
    assert (found.duration_s, found.client, found.load.kind) == (49.97206788184121, "inference-perf 0.3.0", "open")
