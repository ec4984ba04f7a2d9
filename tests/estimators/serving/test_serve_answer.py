"""serve: prices worked by hand, Little's law, limits that are kept and the next user that breaks them, laws that physics has."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.facts.prices import PriceRange
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.serving.answer import ServeAnswer, serve
from estimators.serving.budget import budget
from estimators.serving.curve import Curve, load_points
from estimators.serving.cuts import checkpoint_format, cut_over, fewest, nearest_that_fit
from estimators.serving.deployment import Deployment, Speculation
from estimators.serving.engines import engine
from estimators.serving.price import ApiPrice, token_price, usd_per_million
from estimators.serving.question import ServeQuestion
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model

RENT = PriceRange(low=2.0, median=2.5, high=5.0, source="a test's")


def deployment(model: str = "llama-3.1-8b", device: str = "h100-sxm5-80gb", **settings: Any) -> Deployment:
    return Deployment(model=shipped_model(model), hardware=hardware(device), engine=engine("vllm"), **settings)


def asked(served: Deployment, **settings: Any) -> ServeQuestion:
    return ServeQuestion(deployment=served, **{"input_tokens": 1000, "output_tokens": 300, "rent": RENT} | settings)


def answered(**settings: Any) -> ServeAnswer:
    return serve(asked(deployment(), **settings))


def test_prices_worked_by_hand() -> None:
    """Systalyze's table: an H200 at $7.912 and 1,972 tokens/s is $1.11 per million; $4.1425 and 844 tokens/s are $1.36."""
    assert f"{usd_per_million(7.912, 1, 1972):.2f}" == "1.11"
    assert f"{usd_per_million(4.1425, 1, 844):.2f}" == "1.36"
    assert usd_per_million(7.912, 8, 8 * 1972, 0.5) == pytest.approx(2 * usd_per_million(7.912, 1, 1972))


@pytest.mark.parametrize("utilization", [0.0, -0.1, 1.01])
def test_a_utilization_that_is_none_is_refused(utilization: float) -> None:
    with pytest.raises(BadValueError, match="expected above 0, at most 1"):
        usd_per_million(1.0, 1, 100, utilization)


def test_parts_of_the_price_are_the_rent_and_break_even_is_where_the_api_asks_as_much() -> None:
    api = ApiPrice(usd_per_million_input=0.15, usd_per_million_output=0.6)
    price = token_price(3.6, 1, requests_per_s=10, input_tokens=1000, output_tokens=300, prompt_share=0.25, api=api)
    assert price.input_part_usd is not None
    rent_of_a_request = 3.6 / 3600 / 10
    assert (1000 * price.input_part_usd + 300 * price.output_part_usd) / 1e6 == pytest.approx(rent_of_a_request)
    assert 1300 * price.blended_usd / 1e6 == pytest.approx(rent_of_a_request)
    assert price.break_even_fraction == pytest.approx(rent_of_a_request / (1000 * 0.15 + 300 * 0.6) * 1e6)


def test_energy_is_the_power_of_all_boards_over_throughput() -> None:
    """Between what ML.ENERGY's devices draw at the least and the most: 0.56 to 0.95 of their limit."""
    point = serve(asked(deployment(tp=2))).points[3]
    assert point.joules is not None
    assert 0.56 < point.joules * point.load.output_tokens_per_s / (2 * 700) < 0.95


def test_intervals_hold_the_point_and_users_at_their_ends() -> None:
    found = answered(itl_limit_s=0.02)
    assert found.best is not None
    low, high = found.users_interval
    assert low <= found.best.load.users <= high
    assert low < high
    for point in found.points:
        assert point.itl_interval.low < 1 < point.itl_interval.high
        assert point.ttft_interval.low < 1 < point.ttft_interval.high


@pytest.mark.parametrize("users", [1, 8, 64, 500])
def test_littles_law(users: int) -> None:
    """Requests in flight are their rate times their time; tokens in flight are the batch that decodes."""
    load = Curve(asked(deployment()), budget(deployment())).at(users)
    assert load.requests_per_s * load.e2e_s == pytest.approx(users, rel=1e-6)
    assert load.requests_per_s * 299 * load.itl_s == pytest.approx(load.running, rel=0.01)


def test_the_first_token_of_a_lone_user_is_its_prefill() -> None:
    load = Curve(asked(deployment()), budget(deployment()))
    prefill_s = load.law.time(StepBatch(prompt_tokens=1000, prompt_context=500, prompts=1)).total_s
    assert load.at(1).ttft_s == pytest.approx(prefill_s, rel=0.01)


@pytest.mark.parametrize("limits", [{"ttft_limit_s": 0.06}, {"itl_limit_s": 0.02}, {"ttft_limit_s": 0.06, "itl_limit_s": 0.02}])
def test_the_most_users_keep_the_limits_and_one_more_does_not(limits: dict[str, float]) -> None:
    question = asked(deployment(), users=(1, 1000), **limits)
    found, load = serve(question).best, Curve(question, budget(question.deployment))
    assert found is not None
    assert load.within(found.load)
    assert not load.within(load.at(found.load.users + 1))


def test_a_limit_that_a_lone_user_breaks_leaves_none() -> None:
    found = answered(itl_limit_s=1e-4)
    assert (found.best, found.num_replicas, found.num_gpus_in_all) == (None, None, None)
    assert found.shown is found.points[0]


def test_replicas_for_a_rate_keep_the_limits_and_one_less_does_not() -> None:
    """Requests that come when they come: each replica has its share, and one less has too much."""
    question = asked(deployment(), ttft_limit_s=0.1, itl_limit_s=0.02, rate_per_s=40.0)
    found, load = serve(question), Curve(question, budget(question.deployment))
    replicas = found.num_replicas
    assert replicas is not None
    assert replicas > 1
    assert found.at_rate is not None
    assert found.shown is found.at_rate
    assert found.at_rate.within
    assert found.at_rate.load.requests_per_s == pytest.approx(40 / replicas)
    fewer = load.at_rate(40 / (replicas - 1))
    assert not load.within(fewer) or fewer.queue_s == float("inf")


def test_a_rate_is_served_by_one_replica_where_it_is_small() -> None:
    found = answered(rate_per_s=0.01)
    assert found.num_replicas == 1
    assert found.at_rate is not None
    assert found.at_rate.load.users < 1


def test_a_limit_that_chance_breaks_however_few_requests_come() -> None:
    """An arrival waits for what is left of the step that runs: a limit just above a lone user's prefill has no number of replicas."""
    alone = Curve(asked(deployment()), budget(deployment())).at(1).ttft_s
    assert answered(ttft_limit_s=1.0001 * alone, rate_per_s=5.0).num_replicas is None


def test_replicas_for_users() -> None:
    one = answered(itl_limit_s=0.02)
    assert one.best is not None
    users = one.best.load.users
    assert answered(itl_limit_s=0.02, num_users=3 * users).num_replicas == 3
    assert answered(itl_limit_s=0.02, num_users=3 * users + 1).num_replicas == 4
    with pytest.raises(BadValueError, match="expected one of them"):
        answered(num_users=1, rate_per_s=1.0)


@pytest.mark.parametrize("name", ["memory_bytes_per_s", "memory_bytes"])
def test_more_of_a_device_never_hurts(name: str) -> None:
    plain = deployment()
    better = replace(plain, hardware=replace(plain.hardware, **{name: 2 * getattr(plain.hardware, name)}))
    for users in (1, 64, 800):
        less, more = (Curve(asked(d), budget(d)).at(users) for d in (plain, better))
        assert more.itl_s <= less.itl_s * 1.0001 or more.running > less.running
        assert more.output_tokens_per_s >= less.output_tokens_per_s * 0.9999


def test_throughput_grows_and_price_falls_with_users_and_with_utilization() -> None:
    points = answered(users=(1, 512)).points
    assert all(a.load.output_tokens_per_s <= b.load.output_tokens_per_s * 1.0001 for a, b in itertools.pairwise(points))
    prices = [answered(utilization=share).points[3].price for share in (0.2, 0.5, 1.0)]
    assert all(a and b and a.output_usd > b.output_usd for a, b in itertools.pairwise(prices))


def test_a_prefix_and_a_draft_help() -> None:
    plain, prefixed, drafted = (
        Curve(asked(d), budget(d)).at(4)
        for d in (
            deployment(),
            deployment(prefix_share=0.9),
            deployment(speculation=Speculation(draft_tokens=3, accepted_len=2.5)),
        )
    )
    assert prefixed.ttft_s < plain.ttft_s
    assert drafted.itl_s < plain.itl_s


def test_what_does_not_fit_is_answered_by_what_does() -> None:
    found = serve(asked(deployment("llama-3.1-70b")))
    assert not found.fits
    assert (found.points, found.best) == ((), None)
    changes = [each.change for each in found.nearest]
    assert "--weights awq" in changes
    assert "--gpus-per-replica 2" in changes
    for each in found.nearest:
        assert each.tokens >= 1300


def test_a_narrower_format_on_more_devices_where_neither_is_enough() -> None:
    """Llama 3.1 405B: 16 devices in 16 bits, 8 in fp8, 4 in 4 bits."""
    changes = {each.change: each.num_devices for each in serve(asked(deployment("llama-3.1-405b"))).nearest}
    assert changes == {"--gpus-per-replica 16": 16, "--weights fp8 --gpus-per-replica 8": 8, "--weights awq --gpus-per-replica 4": 4}


def test_a_max_model_len_that_has_no_room_is_refused_with_one_that_has() -> None:
    """vllm issue 10517: 29,000 tokens on a 24 GB card, 0.82 of a sequence."""
    found = serve(asked(deployment(device="rtx-3090-24gb", max_model_len=29_000, kv_blocks=1478)))
    assert not found.fits
    assert found.budget.concurrency() == pytest.approx(0.82, abs=0.005)
    assert "--max-model-len 23648" in [each.change for each in found.nearest]
    nearest = nearest_that_fit(deployment(device="rtx-3090-24gb", max_model_len=29_000, kv_blocks=1478), 1300)
    assert serve(asked(deployment(device="rtx-3090-24gb", max_model_len=23_648, kv_blocks=1478))).fits
    assert nearest


def test_a_length_that_nobody_gave_is_what_has_room_and_is_said() -> None:
    found = serve(asked(deployment(device="rtx-4090-24gb")))
    assert found.fits
    assert found.notes[0].startswith(f"--max-model-len {found.budget.max_model_len} is taken")
    assert found.budget.max_model_len < 131_072


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_model_len": 1000}, "a request of 1,300 tokens is more than --max-model-len 1,000"),
        ({}, "a request of 200,300 tokens is more than the 131,072 that llama-3.1-8b was made for"),
    ],
)
def test_a_request_that_is_too_long_is_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        serve(asked(deployment(**settings), input_tokens=1000 if settings else 200_000))


def test_cuts_go_by_ranks_within_a_node_and_by_stages_beyond() -> None:
    def cut(model: str, num: int, by: str = "vllm") -> tuple[int, int]:
        found = cut_over(replace(deployment(model), engine=engine(by)), num)
        return found.tp, found.pp

    assert cut("llama-3.1-70b", 8) == (8, 1)
    assert cut("llama-3.1-405b", 16) == (8, 2)
    assert cut("llama-3.1-8b", 3) == (1, 3)
    assert cut("llama-3.1-8b", 4, "llama.cpp") == (1, 4)
    with pytest.raises(BadValueError, match=r"no cut of llama-3\.1-8b has 37 devices"):
        cut("llama-3.1-8b", 37)


def test_as_few_devices_as_have_room() -> None:
    assert fewest(deployment("llama-3.1-70b"), 1300).num_devices == 2
    assert fewest(deployment("llama-3.1-70b", weights="fp8"), 1300).num_devices == 2
    assert fewest(deployment("llama-3.1-8b"), 1300).num_devices == 1


@pytest.mark.parametrize(("model", "weights"), [("deepseek-v3", "fp8-tiles"), ("gpt-oss-20b", "mxfp4"), ("llama-3.1-8b", "16-bit")])
def test_checkpoints_are_served_as_they_were_published(model: str, weights: str) -> None:
    assert checkpoint_format(model) == weights


def test_points_of_a_curve() -> None:
    assert load_points(1, 1) == [1]
    assert load_points(5, 100) == [5, 8, 16, 32, 64, 100]
    with pytest.raises(BadValueError, match="2 to 1 users in flight"):
        answered(users=(2, 1))
