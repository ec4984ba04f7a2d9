"""The search over deployments: its front is not beaten, its best is what `serve` says of it, every candidate is accounted for."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.facts.prices import PriceRange
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.serving.answer import serve
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.question import ServeQuestion
from estimators.serving.search import SearchAnswer, Ways, cut_words, cuts_of, search, usual_ways
from estimators.validation.model import shipped_model

RENT = PriceRange(low=2.0, median=2.5, high=5.0, source="a test's")


def question(model: str = "llama-3.1-70b", device: str = "h100-sxm5-80gb", by: str = "vllm", **settings: Any) -> ServeQuestion:
    served = Deployment(model=shipped_model(model), hardware=hardware(device), engine=engine(by))
    limits = {"ttft_limit_s": 1.0, "itl_limit_s": 0.05}
    return ServeQuestion(deployment=served, **{"input_tokens": 1000, "output_tokens": 300, "rent": RENT} | limits | settings)


@pytest.fixture(scope="module")
def found() -> SearchAnswer:
    return search(question(), usual_ways(question()))


def test_nothing_beats_the_front(found: SearchAnswer) -> None:
    """By tokens per second and GPU downwards, tokens per second and user grow."""
    rates = [(each.output_tokens_per_s_per_gpu, each.output_tokens_per_s_per_user) for each in found.front]
    assert len(rates) > 3
    assert rates == sorted(rates, key=lambda rate: (-rate[0], rate[1]))
    assert all(first[1] < second[1] for first, second in itertools.pairwise(rates))
    assert found.best == found.front[0]


def test_limits_are_kept_by_all_of_it(found: SearchAnswer) -> None:
    assert all(each.ttft_s <= 1.0 and each.itl_s <= 0.05 for each in found.front)


def test_every_candidate_is_on_the_front_or_has_a_reason(found: SearchAnswer) -> None:
    on_front = {each.deployment for each in found.front}
    assert len(on_front) + sum(count for _, count in found.losers) == found.num_candidates
    assert dict(found.losers)["no room for a request"] > 0


@pytest.mark.parametrize("place", [0, -1])
def test_serve_says_the_same_of_a_deployment_of_the_front(found: SearchAnswer, place: int) -> None:
    each = found.front[place]
    alone = serve(replace(question(), deployment=each.deployment, users=(each.users, each.users)))
    (point,) = [point for point in alone.points if point.load.users == each.users]
    assert point.load.itl_s == pytest.approx(each.itl_s, rel=1e-9)
    assert point.ttft_s == pytest.approx(each.ttft_s, rel=1e-9)
    assert point.output_tokens_per_s_per_gpu == pytest.approx(each.output_tokens_per_s_per_gpu, rel=1e-9)
    assert point.price is not None
    assert point.price.output_usd == pytest.approx(each.usd_per_million_output, rel=1e-9)


def test_the_best_has_as_many_users_as_serve_finds(found: SearchAnswer) -> None:
    assert found.best is not None
    alone = serve(replace(question(), deployment=replace(found.best.deployment, max_num_seqs=256)))
    assert alone.best is not None
    assert alone.best.load.users == pytest.approx(found.best.users, abs=1)


def test_each_choice_has_its_best_first(found: SearchAnswer) -> None:
    by_choice: dict[str, list[float]] = {}
    for choice, _, each in found.best_by:
        by_choice.setdefault(choice, []).append(each.output_tokens_per_s_per_gpu)
    assert {"weights", "cache", "GPUs", "parallelism"} <= set(by_choice)
    assert all(rates == sorted(rates, reverse=True) for rates in by_choice.values())


def test_what_is_named_is_held_fixed() -> None:
    ways = usual_ways(question(), replicas=(4,), formats=False)
    assert (ways.weights, ways.kv, ways.replicas) == (("16-bit",), ("bf16",), (4,))
    held = search(question(), ways)
    assert {each.deployment.weights for each in held.front} == {"16-bit"}


def test_a_device_without_fp8_is_not_offered_it() -> None:
    ways = usual_ways(question(device="a100-sxm4-80gb"))
    assert ways.weights == ("16-bit", "awq")
    assert ways.kv == ("bf16",)


def test_groups_of_attention_are_of_mixtures_alone() -> None:
    dense, mixture = (cuts_of(shipped_model(name), 8, 8) for name in ("llama-3.1-70b", "deepseek-v3"))  # type: ignore[arg-type]
    assert all(dp == 1 and ep == 1 for _, _, dp, ep in dense)
    assert (1, 1, 8, 8) in mixture
    assert (8, 1, 1, 1) in mixture
    assert all(tp * pp * dp == 8 for tp, pp, dp, _ in [*dense, *mixture])


def test_where_nothing_keeps_the_limits_there_is_no_best() -> None:
    none = search(question(itl_limit_s=1e-6), usual_ways(question(), replicas=(4,)))
    assert (none.best, none.front) == (None, ())
    assert dict(none.losers)["not one user within the limits"] > 0


def test_where_nothing_has_room_it_is_one_line() -> None:
    with pytest.raises(BadValueError, match=r"none of \d+ deployments of llama-3.1-405b has room for a request"):
        search(question("llama-3.1-405b"), usual_ways(question("llama-3.1-405b"), replicas=(1,)))


def test_words_of_a_cut() -> None:
    ways = Ways(replicas=(8,), weights=("fp8-tiles",), kv=("bf16",), max_num_seqs=(64,), cuts=((2, 1, 4, 8),))
    only = search(question("deepseek-v3", "h200-sxm-141gb", ttft_limit_s=None, itl_limit_s=None), ways)
    assert only.num_candidates == 1
    assert only.best is not None
    assert cut_words(only.best.deployment) == "tp 2, dp 4, ep 8"
