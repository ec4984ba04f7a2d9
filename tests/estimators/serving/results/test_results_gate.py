"""The gate: each rule finds what it names, and nothing in what a server can do. Truth: published points, and hand-worked sums."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.frozen import replace
from estimators.serving.results.deployment_of import deployment_of
from estimators.serving.results.gate import RULES, judged
from estimators.serving.results.one_file import read_results
from estimators.serving.results.result import Figure, Load, Served, ServedRequest, ServingResult
from tests.support.load_results import FOLDER, path_of

H100 = Served(model="llama-2-7b", hardware="h100", num_gpus=1, weights="16-bit", engine="vllm", accepted_len=1.0)
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".jsonl", ".csv", ".md", ".yaml"))


def result(served: Served = H100, load: Load | None = None, requests: tuple[ServedRequest, ...] = (), **figures: float) -> ServingResult:
    """A result of figures named like `mean_ttft_s`; rates have the mean."""
    stated = [name.split("_", 1) for name in figures]
    return ServingResult(
        file_format="vllm",
        client="test",
        served=served,
        load=load or Load(kind="closed", concurrency=16, num_requests=100),
        completed=100,
        requests=requests,
        figures=tuple(
            Figure(quantity=quantity, statistic=statistic, value=value)
            for (statistic, quantity), value in zip(stated, figures.values(), strict=True)
        ),
    )


def broken(found: ServingResult) -> list[str]:
    return [rule.name for rule in judged(found, deployment_of(found.served).deployment)]


SOUND: dict[str, float] = {
    "mean_ttft_s": 0.1,
    "mean_tpot_s": 0.010,
    "median_itl_s": 0.0095,
    "mean_output_tokens_per_s": 1500.0,
    "mean_requests_per_s": 15.0,
    "mean_e2e_s": 1.05,
}
"""16 sequences of 100 tokens: 0.1 + 99 x 0.01 s each, 15 a second are 15.8 in flight."""


def test_what_a_server_can_do_is_let_through() -> None:
    assert broken(result(**SOUND)) == []


@pytest.mark.parametrize("name", FILES)
def test_the_tools_own_files_are_let_through(name: str) -> None:
    for found in read_results(path_of(name)):
        assert broken(found) == []


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "zeros for failures, as vllm bench writes them": ("zeros for failures", {"mean_ttft_s": 0.0, "mean_tpot_s": 0.0, "mean_e2e_s": 0.0}),
    "two events a token by inference-perf on vLLM 0.15": (
        "several stream events for a token",
        {"median_tpot_s": 0.00460, "median_itl_s": 0.000027},
    ),
    "a mean gap of half a token": ("several stream events for a token", {"mean_tpot_s": 0.010, "mean_itl_s": 0.005}),
    "7B in 16 bit on an H100 needs 4.0 ms": ("a step faster than its weights can be read", {"mean_tpot_s": 0.00360}),
    "more in flight than were let in": ("more in flight than were let in", {"mean_output_tokens_per_s": 3200.0, "mean_tpot_s": 0.010}),
    "more requests than were let in": ("more in flight than were let in", {"mean_requests_per_s": 20.0, "mean_e2e_s": 1.0}),
    "16 sequences cannot have more than 16 tokens for each reading of the weights": (
        "more tokens a second than the devices can",
        {"mean_output_tokens_per_s": 4500.0},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_no_server_can_do_is_named(case: str) -> None:
    rule, figures = CASES[case]
    assert rule in broken(result(**figures))


def test_every_rule_finds_something() -> None:
    found = {rule for rule, _ in CASES.values()}
    assert found | {"figures that its own requests contradict"} == set(RULES)


def test_the_least_time_of_a_token_is_the_weights_over_the_bandwidth() -> None:
    """Llama 2 7B has 6.607 billion weights in its layers and head, 2 bytes each, over 3.35 TB/s: 3.945 ms."""
    assert broken(result(mean_tpot_s=0.00396)) == []
    assert broken(result(mean_tpot_s=0.00380)) == ["a step faster than its weights can be read"]


def test_speculation_and_leaner_weights_allow_it() -> None:
    assert broken(result(replace(H100, accepted_len=2.5), mean_tpot_s=0.0036)) == []
    assert broken(result(replace(H100, weights="fp8"), mean_tpot_s=0.0036)) == []
    assert broken(result(replace(H100, num_gpus=2), mean_tpot_s=0.0036)) == []


def test_weights_of_unknown_format_are_judged_at_the_leanest() -> None:
    unknown = replace(H100, weights="")
    assert broken(result(unknown, mean_tpot_s=0.0036)) == []
    assert broken(result(unknown, mean_tpot_s=0.0008)) == ["a step faster than its weights can be read"]
    assert "judged" not in deployment_of(H100).assumed


def test_of_an_unknown_server_the_rules_that_need_none_are_asked() -> None:
    nobody = Served()
    assert broken(result(nobody, mean_tpot_s=0.00001)) == []
    assert broken(result(nobody, **CASES["a mean gap of half a token"][1])) == ["several stream events for a token"]


def request(num_gaps: int, output_tokens: int = 11) -> ServedRequest:
    return ServedRequest(
        arrival_s=0.0, prompt_tokens=10, output_tokens=output_tokens, ttft_s=0.1, e2e_s=0.1 + num_gaps * 0.005, gaps_s=(0.005,) * num_gaps
    )


def test_events_are_counted_where_every_one_is_there() -> None:
    assert broken(result(requests=(request(20),) * 2)) == ["several stream events for a token"]
    assert broken(result(requests=(request(11),) * 2)) == []  # the end of a stream is an event of its own
    assert (
        broken(result(requests=(replace(request(5), e2e_s=0.2),) * 2)) == []
    )  # several tokens an event: the time between events says less, and is true
    assert broken(result(requests=(request(2, output_tokens=2),) * 2)) == []


def test_a_mean_that_its_requests_do_not_have_is_found() -> None:
    stated = result(requests=(request(10),) * 3, mean_ttft_s=0.4)
    assert broken(stated) == ["figures that its own requests contradict"]
    assert broken(result(requests=(request(10),) * 3, mean_ttft_s=0.1)) == []
    wrong_sum = replace(result(requests=(request(10),) * 100), output_tokens=1200)
    assert broken(wrong_sum) == ["figures that its own requests contradict"]
    assert broken(replace(wrong_sum, output_tokens=1100)) == []


def test_an_open_load_has_no_limit_to_pass() -> None:
    assert broken(result(load=Load(kind="open", request_rate=40.0), mean_requests_per_s=40.0, mean_e2e_s=3.0)) == []


class TestNaming:
    def test_a_name_that_may_be_several_models_is_asked_about(self) -> None:
        assert "say which with --model" in deployment_of(replace(H100, model="llama3")).missing

    def test_what_is_missing_is_said(self) -> None:
        for name, option in {"model": "--model", "hardware": "--hardware"}.items():
            assert option in deployment_of(replace(H100, **{name: ""})).missing
        assert "--gpus" in deployment_of(replace(H100, num_gpus=None)).missing

    def test_a_driver_and_a_person_name_the_same_device(self) -> None:
        by_driver = deployment_of(replace(H100, hardware="NVIDIA H100 80GB HBM3")).deployment
        assert by_driver == deployment_of(H100).deployment
        eight = deployment_of(replace(H100, hardware="8xH100", num_gpus=None)).deployment
        assert eight is not None
        assert eight.tp == 8

    def test_an_option_stands_above_the_file(self) -> None:
        assert Served(model="mock", tp=2).completed(Served(model="llama-2-7b")) == Served(model="llama-2-7b", tp=2)
